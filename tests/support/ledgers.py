"""What became of a consumer group's entries, as tests ask for it."""

from __future__ import annotations

from typing import NamedTuple

from control_plane.brokers import StreamTransport


class Ledger(NamedTuple):
    """How many entries a group has acknowledged, and how many it has given up."""

    acknowledged: int
    dead: int


async def ledger(transport: StreamTransport, stream: str, group: str) -> Ledger:
    """Return the group's figures; zeros where there is no such group."""
    info = await transport.info(stream)
    found = [each for each in info.groups if each.name == group] if info else []
    return Ledger(found[0].acknowledged, found[0].dead) if found else Ledger(0, 0)
