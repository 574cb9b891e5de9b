"""The directory forgets who is silent, and blames nobody for a bus that was away or stood still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from contracts.messages import HostHeartbeat, to_fields
from contracts.status import ReplicaReport, ReplicaState
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.runtime.directory import EventDirectory
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


class Scene:
    """A directory, its bus, and a clock that is set by hand."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.now_s = 0.0
        self.bus = MemoryTransport()
        self.directory = EventDirectory(
            self.bus, app="t", local_host="h-me", now_s=lambda: self.now_s, run=tasks.create_task
        )

    async def beat(self, component: str, at_s: float) -> None:
        """Let a host speak at a time, and wait until it was heard: the prefix tells."""
        self.now_s = at_s
        prefix = f"/{component}/{at_s:g}"
        report = ReplicaReport(
            component=component, replica=f"{component}-1", state=ReplicaState.READY, prefix=prefix
        )
        heartbeat = HostHeartbeat(
            host=f"h-{component}", pid=1, endpoint="unix:///s", interval_s=2.0, replicas=(report,)
        )
        await self.bus.append_log("t:ctl:events", to_fields(heartbeat), max_len=100)
        await eventually(lambda: prefix in [endpoint.prefix for endpoint in self.directory.endpoints()])

    def known(self) -> list[str]:
        return [endpoint.component for endpoint in self.directory.endpoints()]


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with asyncio.TaskGroup() as tasks:
        made = Scene(tasks)
        await made.directory.caught_up()
        await made.beat("critic", 0.0)
        await made.beat("writer", 0.0)
        yield made
        made.directory.stop()


async def test_a_host_that_is_silent_while_others_speak_is_forgotten() -> None:
    async with scene() as here:
        for at_s in (2.0, 4.0, 6.0):
            await here.beat("writer", at_s)
            assert here.known() == ["critic", "writer"]

        await here.beat("writer", 8.0)

        assert here.known() == ["writer"]


async def test_nobody_is_forgotten_because_nothing_was_heard_at_all() -> None:
    async with scene() as here:
        await here.beat("writer", 20.0)

        assert here.known() == ["critic", "writer"]
