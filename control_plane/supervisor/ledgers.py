"""The ledger of a stream: what was accepted, acknowledged, left for next time, and dead.

Accepted comes from the stream's own counter of entries, acknowledged and dead from counters that the
broker moves in the same step as the acknowledgement, left from the group's lag and pending entries.
They are counted apart, so that a sum which does not come out shows a loss.
"""

from __future__ import annotations

from contracts.status import StreamLedger
from control_plane.brokers import GroupInfo, StreamTransport


async def read_ledgers(transport: StreamTransport, app: str) -> list[StreamLedger]:
    """Return one ledger for each consumer group of each of the backend's streams."""
    prefix = f"{app}:bus:"
    found = [await _ledgers_of(transport, stream, prefix) for stream in await transport.streams(prefix)]
    return [ledger for ledgers in found for ledger in ledgers]


async def _ledgers_of(transport: StreamTransport, stream: str, prefix: str) -> list[StreamLedger]:
    info = await transport.info(stream)
    groups = sorted(info.groups, key=lambda group: group.name) if info else []
    return [_ledger(stream.removeprefix(prefix), group) for group in groups]


def _ledger(stream: str, group: GroupInfo) -> StreamLedger:
    return StreamLedger(
        stream=stream,
        group=group.name,
        accepted=group.accepted,
        acknowledged=group.acknowledged,
        left=group.left,
        dead=group.dead,
        adds_up=group.accepted == group.acknowledged + group.left + group.dead,
    )
