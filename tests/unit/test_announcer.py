"""What a bus that is away does to messages: most may be lost, outcomes may not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from contracts.errors import BusError
from contracts.messages import CommandCompleted, HostStopping, Message
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.runtime import announcer, clock
from control_plane.runtime.announcer import Announcer, events_stream

pytestmark = pytest.mark.anyio

OUTCOME = CommandCompleted(component="writer", host="", command_id="r", command="restart")
HEARTBEAT = HostStopping(host="h1-1", pid=1, reason="told to")


class AwayAtFirst(MemoryTransport):
    """A bus that takes nothing the first times."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    async def append_log(self, stream: str, fields: Mapping[str, str], *, max_len: int) -> str:
        if self.refusals:
            self.refusals -= 1
            raise BusError("gone", code="E4001")
        return await super().append_log(stream, fields, max_len=max_len)


async def sent(*messages: tuple[Message, bool], refusals: int) -> list[str]:
    """Announce to a bus that is away at first; return the types that arrive."""
    transport = AwayAtFirst(refusals)
    saying = Announcer(transport, app="app", node="n", utc_now=clock.utc_now)
    for message, insist in messages:
        saying.announce(message, insist=insist)
    running = asyncio.create_task(saying.run())
    await saying.flush(timeout_s=5)
    running.cancel()
    entries = await transport.tail({events_stream("app"): "0-0"}, count=9, block_s=0)
    return [entry.fields["type"] for _, entry in entries]


class TestInsisting:
    async def test_an_outcome_waits_for_the_bus_and_what_is_said_after_it_comes_after_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(announcer, "BUS_PAUSE_S", 0.0)
        assert await sent((OUTCOME, True), (HEARTBEAT, False), refusals=3) == [OUTCOME.type, HEARTBEAT.type]

    async def test_what_a_heartbeat_repairs_is_dropped(self) -> None:
        assert await sent((HEARTBEAT, False), (OUTCOME, True), refusals=1) == [OUTCOME.type]
