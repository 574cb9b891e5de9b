"""The directory forgets who is silent, and blames nobody for a bus that was away or stood still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from contracts.messages import EPOCH, ComponentTransitioned, HostHeartbeat, to_fields
from contracts.status import ReplicaReport, ReplicaState
from control_plane.brokers import Entry
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.runtime.directory import EventDirectory
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


def heartbeat(component: str, prefix: str = "/") -> HostHeartbeat:
    report = ReplicaReport(
        component=component, replica=f"{component}-1", state=ReplicaState.READY, prefix=prefix
    )
    return HostHeartbeat(
        host=f"h-{component}", pid=1, endpoint="unix:///s", interval_s=2.0, replicas=(report,)
    )


def _report(replica: str, state: ReplicaState, since_s: float) -> ReplicaReport:
    component = replica.rpartition("-")[0]
    return ReplicaReport(component=component, replica=replica, state=state, since=_moment(since_s))


def _moment(at_s: float) -> datetime:
    return EPOCH + timedelta(seconds=at_s)


class Remembering(MemoryTransport):
    """A bus with a history of its own, at times of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._history: list[Entry] = []

    def remember(self, message: HostHeartbeat, *, at_ms: int) -> None:
        self._history.append(Entry(f"{at_ms}-0", to_fields(message)))

    async def range(
        self, stream: str, *, start: str = "-", end: str = "+", count: int = 100, reverse: bool = False
    ) -> list[Entry]:
        return self._history[::-1]


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
        await self.bus.append_log("t:ctl:events", to_fields(heartbeat(component, prefix)), max_len=100)
        await eventually(lambda: prefix in [endpoint.prefix for endpoint in self.directory.endpoints()])

    async def transition(
        self, replica: str, state: ReplicaState, *, host: str = "", at_s: float = 0.0
    ) -> None:
        """Let a replica's host tell its new state, and wait until it was heard."""
        component = replica.rpartition("-")[0]
        message = ComponentTransitioned(
            at=_moment(at_s),
            component=component,
            replica=replica,
            host=host or f"h-{replica}",
            endpoint=f"unix:///{replica}",
            prefix=f"/{component}",
            from_state=ReplicaState.STARTING,
            to_state=state,
        )
        await self.bus.append_log("t:ctl:events", to_fields(message), max_len=100)
        await self.directory.caught_up()

    async def heartbeat(self, host: str, states: dict[str, tuple[ReplicaState, float]]) -> None:
        """Let a host tell of its replicas, each with its state and since when, until it was heard."""
        reports = tuple(_report(replica, state, since_s) for replica, (state, since_s) in states.items())
        message = HostHeartbeat(host=host, pid=1, endpoint="unix:///s", interval_s=2.0, replicas=reports)
        await self.bus.append_log("t:ctl:events", to_fields(message), max_len=100)
        await self.directory.caught_up()

    def tell(self, replica: str, state: ReplicaState, *, at_s: float) -> None:
        """Let this process tell of a replica of its own."""
        self.directory.set_local(_report(replica, state, at_s), None)

    def replicas(self, component: str) -> list[tuple[str, bool]]:
        endpoints = self.directory.endpoints()
        return [(each.replica, each.ready) for each in endpoints if each.component == component]

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


async def test_a_host_of_unknown_interval_does_not_lengthen_it_either() -> None:
    """One that spoke of a replica, and died before its first heartbeat."""
    async with scene() as here:
        await here.transition("outliner-1", ReplicaState.STARTING)
        await here.beat("critic", 1.0)

        await here.beat("writer", 9.0)

        assert here.known() == ["critic", "writer"]


async def test_a_pause_that_lies_in_the_history_is_held_against_nobody() -> None:
    async with asyncio.TaskGroup() as tasks:
        bus = Remembering()
        directory = EventDirectory(
            bus, app="t", local_host="h-me", now_s=lambda: 100.0, run=tasks.create_task
        )
        bus.remember(heartbeat("critic"), at_ms=1000)
        bus.remember(heartbeat("writer"), at_ms=1500)
        bus.remember(heartbeat("writer"), at_ms=11_000)

        await directory.caught_up()

        assert [each.component for each in directory.endpoints()] == ["critic", "writer"]
        directory.stop()


async def test_a_pause_of_the_bus_makes_nobody_younger() -> None:
    async with scene() as here:
        for at_s in (2.0, 4.0):
            await here.beat("writer", at_s)

        await here.beat("writer", 20.0)
        assert here.known() == ["critic", "writer"]

        await here.beat("writer", 22.5)
        assert here.known() == ["writer"]


async def test_a_host_that_was_dead_before_we_began_is_not_heard_anew() -> None:
    """A bus that comes back with its history holds what hosts said that ended with it."""
    now_s = 100.0
    async with asyncio.TaskGroup() as tasks:
        bus = Remembering()
        directory = EventDirectory(
            bus, app="t", local_host="h-me", now_s=lambda: now_s, run=tasks.create_task
        )
        bus.remember(heartbeat("critic"), at_ms=1000)
        for at_ms in (2500, 4500, 6500):
            bus.remember(heartbeat("writer"), at_ms=at_ms)
        await directory.caught_up()
        assert [each.component for each in directory.endpoints()] == ["critic", "writer"]

        now_s = 101.0
        await bus.append_log("t:ctl:events", to_fields(heartbeat("writer")), max_len=100)

        await eventually(lambda: [each.component for each in directory.endpoints()] == ["writer"])
        directory.stop()


async def test_a_dead_host_does_not_lengthen_the_silence_that_is_put_down_to_the_bus() -> None:
    """The control plane speaks for hosts that died; what it says of one is no sign of life of it."""
    async with scene() as here:
        lost = ComponentTransitioned(
            component="outliner",
            replica="outliner-1",
            host="h-outliner",
            from_state=ReplicaState.READY,
            to_state=ReplicaState.LOST,
        )
        await here.bus.append_log("t:ctl:events", to_fields(lost), max_len=100)
        await here.beat("critic", 1.0)

        await here.beat("writer", 9.0)

        assert here.known() == ["critic", "writer"]


async def test_a_replica_that_drains_is_asked_only_while_there_is_nobody_else() -> None:
    async with scene() as here:
        await here.transition("outliner-1", ReplicaState.READY)
        await here.transition("outliner-1", ReplicaState.DRAINING)
        assert here.replicas("outliner") == [("outliner-1", False)]

        await here.transition("outliner-2", ReplicaState.DEGRADED)
        assert here.replicas("outliner") == [("outliner-2", False)]

        await here.transition("outliner-1", ReplicaState.STOPPING)
        assert here.replicas("outliner") == [("outliner-2", False)]


async def test_somebody_is_there_at_every_moment_of_a_replacement() -> None:
    """The successor's readiness is told before the drain it allows, and is read in that order."""
    async with scene() as here:
        await here.transition("outliner-1", ReplicaState.READY)
        seen: list[list[tuple[str, bool]]] = []

        async def watch() -> None:
            async for _ in here.directory.changes():
                seen.append(here.replicas("outliner"))

        watching = asyncio.ensure_future(watch())
        for replica, state in (
            ("outliner-2", ReplicaState.STARTING),
            ("outliner-2", ReplicaState.READY),
            ("outliner-1", ReplicaState.DRAINING),
            ("outliner-1", ReplicaState.STOPPING),
        ):
            await here.transition(replica, state)
        await eventually(lambda: seen[-1:] == [[("outliner-2", True)]])
        watching.cancel()
        assert all(any(ready for _, ready in replicas) for replicas in seen)


@pytest.mark.parametrize("state", [ReplicaState.DRAINING, ReplicaState.STOPPING])
async def test_the_same_holds_for_a_replica_in_this_process(state: ReplicaState) -> None:
    async with scene() as here:
        report = ReplicaReport(component="critic", replica="critic-9", state=state, prefix="/critic")
        here.directory.set_local(report, _never_asked)
        assert "critic-9" not in [replica for replica, _ in here.replicas("critic")]
        report = report.model_copy(update={"component": "plotmaster", "replica": "plotmaster-1"})
        here.directory.set_local(report, _never_asked)
        assert bool(here.replicas("plotmaster")) is (state is ReplicaState.DRAINING)


async def _never_asked(*_: object) -> None:
    raise AssertionError("nothing is asked here")


async def test_who_asks_again_waits_for_what_was_said_since() -> None:
    """A gateway that is to drain must not take itself for the last one, because it reads a moment late."""
    async with scene() as here:
        for number in range(50):
            await here.bus.append_log("t:ctl:events", to_fields(heartbeat(f"late-{number}")), max_len=100)

        await here.directory.caught_up()

        assert "late-49" in here.known()


async def test_a_replica_in_this_process_is_not_what_a_dead_one_of_its_id_was_last() -> None:
    async with scene() as here:
        here.tell("gateway-1", ReplicaState.READY, at_s=2.0)

        await here.transition("gateway-1", ReplicaState.DRAINING, host="died while it drained", at_s=1.0)

        assert here.directory.status()["gateway"] == {"gateway-1": "ready"}


@pytest.mark.parametrize("state", [ReplicaState.PENDING, ReplicaState.READY, ReplicaState.FAILED])
async def test_a_replica_is_in_its_newest_state_and_not_what_a_dead_host_said_last(
    state: ReplicaState,
) -> None:
    async with scene() as here:
        await here.heartbeat("old", {"outliner-1": (ReplicaState.READY, 1.0)})
        await here.heartbeat("new", {"outliner-1": (state, 2.0)})
        assert here.directory.status()["outliner"] == {"outliner-1": state}

        await here.transition("outliner-1", ReplicaState.DRAINING, host="old", at_s=1.5)
        assert here.directory.status()["outliner"] == {"outliner-1": state}


@pytest.mark.parametrize("ended", [ReplicaState.STOPPED, ReplicaState.FAILED])
async def test_a_replica_that_moved_is_not_in_the_state_in_which_it_left(ended: ReplicaState) -> None:
    """A host that holds others as well goes on to tell that this one ended."""
    async with scene() as here:
        here.tell("critic-1", ended, at_s=1.0)
        ready = (ReplicaState.READY, 2.0)
        await here.heartbeat("there", {"critic-1": ready, "outliner-1": ready})
        await here.heartbeat("here", {"outliner-1": (ended, 1.0), "editor-1": ready})

        states = here.directory.status()
        assert states["critic"] == {"critic-1": "ready"}
        assert states["outliner"] == {"outliner-1": "ready"}


async def test_a_replica_that_moved_is_not_stopped_because_the_old_one_took_long_to_end() -> None:
    async with scene() as here:
        await here.heartbeat("there", {"outliner-1": (ReplicaState.READY, 2.0)})
        await here.heartbeat("here", {"outliner-1": (ReplicaState.STOPPED, 3.0)})

        assert here.directory.status()["outliner"] == {"outliner-1": "ready"}
