"""A host keeps a component's faults inside that component, and tells of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.errors import BusUnavailable
from contracts.messages import (
    CommandFailed,
    ComponentTransitioned,
    HostHeartbeat,
    LoopBlocked,
    Message,
    StartReplica,
    StopReplica,
    from_fields,
    to_fields,
)
from contracts.specs import ComponentSpec, HostSpec, Mode, ReplicaSpec
from contracts.state import SharedState
from contracts.status import ReplicaState
from control_plane.brokers import StreamTransport, open_transport
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.runtime.host import Host
from control_plane.stores import open_state
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

SAMPLES = "tests.support.samples"


@dataclass
class Running:
    """A host in this process, with its bus and state, and hands to command it."""

    host: Host
    transport: StreamTransport
    state: SharedState
    sent: int = 0
    stopping: bool = False

    def stop(self) -> None:
        """Begin to stop the host."""
        self.stopping = True
        self.host.stop("the test is over")

    async def command(self, message: type[StartReplica | StopReplica], replica: str, **more: Any) -> None:
        self.sent += 1
        component = replica.rpartition("-")[0]
        command = message(
            component=component, replica=replica, host="h-1", command_id=f"c{self.sent}", **more
        )
        await self.transport.append_log(f"t:ctl:commands:{component}", to_fields(command), max_len=100)

    async def start(self, *replicas: str) -> None:
        for replica in replicas:
            await self.command(StartReplica, replica)

    async def until(self, replica: str, state: ReplicaState) -> None:
        found = self.host.replicas[replica]
        try:
            await eventually(lambda: found.state is state, 10)
        except AssertionError as exc:
            raise AssertionError(
                f"{replica} is {found.state}: {found.error} {found.error and found.error.detail}"
            ) from exc

    async def events(self) -> list[Message]:
        return [from_fields(entry.fields) for entry in await self.transport.range("t:ctl:events", count=1000)]

    async def transitions(self, replica: str) -> list[ReplicaState]:
        return [
            event.to_state
            for event in await self.events()
            if isinstance(event, ComponentTransitioned) and event.replica == replica
        ]

    async def get(self, path: str) -> tuple[int, Any]:
        connector = aiohttp.UnixConnector(self.host.spec.listen.removeprefix("unix://"))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(f"http://host{path}") as answer,
        ):
            return answer.status, await answer.json(content_type=None)


def component(name: str, use: str, **more: Any) -> ComponentSpec:
    health = {"interval_s": 0.1, "timeout_s": 0.1}
    return ComponentSpec(
        name=name,
        use=f"{SAMPLES}:{use}",
        prefix=f"/agents/{name}",
        **{"health": health, "grace_period_s": 1.0, **more},
    )


@asynccontextmanager
async def hosting(folder: Path, *components: ComponentSpec) -> AsyncIterator[Running]:
    """Run a host with one replica of each component, beside one that behaves."""
    specs = (component("good", "Good"), *components)
    spec = HostSpec(
        id="h-1",
        label="local",
        app="t",
        mode=Mode.SINGLE,
        home=str(folder),
        project=str(folder),
        listen=f"unix://{folder}/h.sock",
        replicas=tuple(ReplicaSpec(id=f"{each.name}-1", component=each) for each in specs),
    )
    transport = await open_transport("memory://")
    async with open_state("t", "memory://") as state:
        host = Host(spec, transport=transport, state=state)
        running = Running(host, transport, state)
        life = asyncio.ensure_future(host.run())
        await eventually(lambda: Path(f"{folder}/h.sock").exists())
        await running.start("good-1")
        await running.until("good-1", ReplicaState.READY)
        yield running
        if not running.stopping:
            assert host.replicas["good-1"].state is ReplicaState.READY, "the neighbour was taken down"
            assert (await running.get("/agents/good/"))[0] == 200
        running.stop()
        await asyncio.wait_for(life, 10)
    await transport.close()


@pytest.mark.parametrize(
    ("use", "code"),
    [
        ("RaisesInConstructor", "E5002"),
        ("RaisesInStartup", "E5003"),
        ("ExitsInStartup", "E5003"),
    ],
)
async def test_a_fault_while_starting_fails_that_replica_alone(tmp_path: Path, use: str, code: str) -> None:
    async with hosting(tmp_path, component("bad", use)) as running:
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.FAILED)

        error = running.host.replicas["bad-1"].error
        assert error is not None
        assert error.code == code
        assert "samples.py" in error.detail
        assert "control_plane" not in error.detail


@pytest.mark.parametrize(
    ("use", "last"), [("HangsInStartup", "no health answer"), ("NeverHealthy", "warming up")]
)
async def test_a_replica_that_never_gets_ready_fails_with_its_last_health_answer(
    tmp_path: Path, use: str, last: str
) -> None:
    async with hosting(tmp_path, component("bad", use, startup_timeout_s=0.3)) as running:
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.FAILED)

        error = running.host.replicas["bad-1"].error
        assert error is not None
        assert error.code == "E5004"
        assert last in error.why


async def test_a_start_that_hangs_can_be_stopped(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("bad", "HangsInStartup")) as running:
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.STARTING)

        await running.command(StopReplica, "bad-1", grace_period_s=1.0)

        await running.until("bad-1", ReplicaState.STOPPED)


@pytest.mark.parametrize("word", ["now", "exit"])
async def test_the_crash_of_an_owned_task_is_the_crash_of_its_component(tmp_path: Path, word: str) -> None:
    async with hosting(tmp_path, component("bad", "TaskCrashes")) as running:
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.READY)

        await running.state.set("crash", word)
        await running.until("bad-1", ReplicaState.FAILED)
        assert running.host.replicas["bad-1"].error.code == "E5005"  # type: ignore[union-attr]

        await running.state.delete("crash")
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.READY)


@pytest.mark.parametrize("path", ["boom", "exit"])
async def test_a_fault_in_a_route_is_answered_with_a_problem(tmp_path: Path, path: str) -> None:
    async with hosting(tmp_path) as running:
        status, body = await running.get(f"/agents/good/{path}")

        assert status == 500
        assert body["code"] == "E5006"


async def test_a_fault_in_a_handler_leaves_the_component_ready(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("bad", "HandlerRaises")) as running:
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.READY)
        for message in ('{"n": 1}', '{"n": 2, "exit": true}'):
            await running.transport.append("t:bus:pings", {"data": message}, max_len=100, keep=10)

        async def both_dead() -> bool:
            return len(await running.transport.range("t:dead:pings")) == 2

        await eventually(both_dead, 10)
        assert running.host.replicas["bad-1"].state is ReplicaState.READY


async def test_health_makes_a_replica_degraded_and_ready_again(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("moody", "HealthFollowsState")) as running:
        await running.start("moody-1")
        await running.until("moody-1", ReplicaState.READY)
        for answer in ("poor", "raise", "hang"):
            await running.state.set("health", answer)
            await running.until("moody-1", ReplicaState.DEGRADED)
            await running.state.set("health", "ok")
            await running.until("moody-1", ReplicaState.READY)


async def test_health_may_say_what_json_cannot(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("odd", "AnswersWhatJsonCannotSay")) as running:
        await running.start("odd-1")
        await running.until("odd-1", ReplicaState.READY)

        health = running.host.replicas["odd-1"].health

        assert health is not None
        assert health.detail["pool"].startswith("<object object")


async def test_a_slow_health_check_holds_up_no_heartbeat(tmp_path: Path) -> None:
    slow = component("slow", "SlowToAnswer", health={"interval_s": 0.1, "timeout_s": 60.0})
    async with hosting(tmp_path, slow) as running:
        await running.start("slow-1")
        await running.until("slow-1", ReplicaState.READY)
        await running.state.set("slow", True)

        before = len(await running.events())

        async def ten_more() -> bool:
            later = (await running.events())[before:]
            return sum(isinstance(event, HostHeartbeat) for event in later) >= 10

        await eventually(ten_more)


@pytest.mark.parametrize(
    ("way", "function"), [("message", "on_nap"), ("request", "nap_now"), ("task", "nap_when_told")]
)
async def test_a_blocked_loop_is_told_with_the_replica_and_the_line(
    tmp_path: Path, way: str, function: str
) -> None:
    async with hosting(tmp_path, component("sleepy", "Naps"), component("twin", "Quiet")) as running:
        await running.start("sleepy-1")
        await running.until("sleepy-1", ReplicaState.READY)

        match way:
            case "message":
                await running.transport.append("t:bus:naps", {"data": '{"s": 0.8}'}, max_len=100, keep=10)
            case "request":
                assert (await running.get("/agents/sleepy/nap/0.8"))[0] == 200
            case "task":
                await running.state.set("nap", 0.8)

        async def told() -> LoopBlocked | None:
            blocks = [event for event in await running.events() if isinstance(event, LoopBlocked)]
            return next((block for block in blocks if block.culprit.endswith(" in nap")), None)

        block = await eventually(told)
        assert (block.host, block.component, block.replica) == ("h-1", "sleepy", "sleepy-1")
        assert 300 <= block.duration_ms <= 2000
        assert "tests/support/samples.py:" in block.culprit
        assert f"in {function}" in block.stack
        assert "time.sleep(length_s)" in block.stack
        assert "control_plane" not in block.stack
        assert "run_in_thread" in block.hint
        assert "--mode multi" in block.hint


async def test_a_host_that_stops_starts_nothing_more(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("slow", "HangsInShutdown"), component("late", "Quiet")) as running:
        await running.start("slow-1")
        await running.until("slow-1", ReplicaState.READY)

        async def refused() -> bool:
            return any(isinstance(event, CommandFailed) for event in await running.events())

        running.stop()
        await running.until("slow-1", ReplicaState.STOPPING)
        await running.start("late-1")
        await eventually(refused)


@pytest.mark.parametrize("use", ["RaisesInShutdown", "HangsInShutdown"])
async def test_a_fault_in_shutdown_still_stops_the_replica(tmp_path: Path, use: str) -> None:
    async with hosting(tmp_path, component("bad", use)) as running:
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.READY)

        await running.command(StopReplica, "bad-1", grace_period_s=0.2)
        await running.until("bad-1", ReplicaState.STOPPED)

        assert running.host.replicas["bad-1"].reason


async def test_a_drain_ends_event_streams_properly(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("other", "Good")) as running:
        await running.start("other-1")
        await running.until("other-1", ReplicaState.READY)
        connector = aiohttp.UnixConnector(running.host.spec.listen.removeprefix("unix://"))
        async with aiohttp.ClientSession(connector=connector) as session:
            stream = await session.get("http://host/agents/other/ticks")
            assert await stream.content.readline() == b"data: tick\n"

            await running.command(StopReplica, "other-1", grace_period_s=5.0)

            assert await asyncio.wait_for(stream.content.read(), 3) == b"\n"
        await running.until("other-1", ReplicaState.STOPPED)


async def test_a_draining_replica_answers_until_others_have_heard_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryTransport, "kind", "redis")  # as if somebody else listened
    monkeypatch.setattr("control_plane.runtime.replica.QUIET_S", 0.2)
    async with hosting(tmp_path, component("other", "Good")) as running:
        await running.start("other-1")
        await running.until("other-1", ReplicaState.READY)

        await running.command(StopReplica, "other-1", grace_period_s=5.0)
        await running.until("other-1", ReplicaState.DRAINING)

        assert (await running.get("/agents/other/"))[0] == 200
        await running.until("other-1", ReplicaState.STOPPED)
        assert (await running.get("/agents/other/"))[0] == 503


async def test_a_drain_waits_for_nobody_while_the_bus_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryTransport, "kind", "redis")
    monkeypatch.setattr("control_plane.runtime.replica.QUIET_S", 60.0)
    monkeypatch.setattr("control_plane.runtime.replica.QUIET_LIMIT_S", 60.0)
    async with hosting(tmp_path, component("other", "Good", grace_period_s=60.0)) as running:
        await running.start("other-1")
        await running.until("other-1", ReplicaState.READY)

        async def away(*_: object, **__: object) -> str:
            raise BusUnavailable("it is away")

        with monkeypatch.context() as bus:
            bus.setattr(MemoryTransport, "append_log", away)
            async with asyncio.timeout(5):
                await running.host.replicas["other-1"].stop(grace_period_s=60.0)


async def test_every_transition_is_told_and_every_heartbeat_is_whole(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("other", "Good")) as running:
        await running.start("other-1")
        await running.until("other-1", ReplicaState.READY)
        await running.command(StopReplica, "other-1", grace_period_s=1.0)
        await running.until("other-1", ReplicaState.STOPPED)

        async def stopped_is_told() -> bool:
            return (await running.transitions("other-1"))[-1:] == [ReplicaState.STOPPED]

        await eventually(stopped_is_told)
        assert await running.transitions("other-1") == [
            ReplicaState.STARTING,
            ReplicaState.READY,
            ReplicaState.DRAINING,
            ReplicaState.STOPPING,
            ReplicaState.STOPPED,
        ]
        beats = [event for event in await running.events() if isinstance(event, HostHeartbeat)]
        assert all({r.replica for r in beat.replicas} == {"good-1", "other-1"} for beat in beats)


async def test_the_same_command_twice_acts_once(tmp_path: Path) -> None:
    async with hosting(tmp_path) as running:
        running.sent -= 1  # the id of the start that came before

        await running.start("good-1")
        await running.command(StopReplica, "good-1", grace_period_s=1.0, epoch=0)  # of an older leader

        async def refused() -> bool:
            return any(event.type == "command.failed" for event in await running.events())

        await eventually(refused)
        assert await running.state.get("good-1:starts") == 1


async def test_a_start_of_one_more_replica_makes_it_in_the_same_host(tmp_path: Path) -> None:
    async with hosting(tmp_path) as running:
        await running.start("good-2")
        await eventually(lambda: "good-2" in running.host.replicas)
        await running.until("good-2", ReplicaState.READY)

        assert await running.state.get("good-2:starts") == 1


async def test_the_host_answers_for_its_replicas(tmp_path: Path) -> None:
    async with hosting(tmp_path, component("bad", "RaisesInStartup")) as running:
        await running.start("bad-1")
        await running.until("bad-1", ReplicaState.FAILED)

        assert await running.get("/-/health") == (200, {"status": "ok"})
        status, body = await running.get("/-/ready")
        assert (status, body["replicas"]) == (503, {"good-1": "ready", "bad-1": "failed"})
        assert (await running.get("/agents/nobody"))[0] == 404
