"""The directory forgets who is silent, and blames nobody for a bus that was away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from contracts.errors import BusError
from contracts.messages import HostHeartbeat, to_fields
from contracts.status import ReplicaReport, ReplicaState
from control_plane.brokers import Entry
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.runtime import directory as module
from control_plane.runtime.directory import EventDirectory
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


class Breakable(MemoryTransport):
    """A bus that can be away."""

    away = False

    async def tail(self, *args: object, **options: object) -> list[tuple[str, Entry]]:
        if self.away:
            raise BusError("the bus is away", code="E4001")
        return await super().tail(*args, **{**options, "block_s": 0.01})  # type: ignore[arg-type]


async def beat(bus: MemoryTransport, component: str) -> None:
    report = ReplicaReport(
        component=component, replica=f"{component}-1", state=ReplicaState.READY, prefix=f"/{component}"
    )
    heartbeat = HostHeartbeat(
        host=f"h-{component}",
        pid=1,
        endpoint=f"unix:///{component}",
        interval_s=2.0,
        replicas=(report,),
        at=datetime.now(UTC),
    )
    await bus.append_log("t:ctl:events", to_fields(heartbeat), max_len=100)


@pytest.mark.parametrize(("away", "left"), [(False, ["writer"]), (True, ["critic", "writer"])])
async def test_silence_counts_only_while_the_bus_is_there(
    away: bool, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUS_PAUSE_S", 0.01)
    bus, now_s = Breakable(), [0.0]
    async with asyncio.TaskGroup() as tasks:
        known = EventDirectory(bus, app="t", local_host="h-me", now_s=lambda: now_s[0], run=tasks.create_task)
        for component in ("critic", "writer"):
            await beat(bus, component)
        await known.caught_up()
        bus.away = away
        await asyncio.sleep(0.05)
        now_s[0] = 20.0
        bus.away = False
        await asyncio.sleep(0.05)

        await beat(bus, "writer")
        await eventually(lambda: len(known.endpoints()) == len(left))
        await asyncio.sleep(0.05)

        assert [endpoint.component for endpoint in known.endpoints()] == left
        known.stop()
