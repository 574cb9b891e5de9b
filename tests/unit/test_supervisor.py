"""The actor over a bus in memory and hosts that are told by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from contracts.messages import HostHeartbeat, to_fields
from contracts.specs import AppSpec, ComponentSpec, HostSpec, Mode, Settings
from contracts.status import ReplicaReport, ReplicaState
from control_plane.brokers import BusUnavailable
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.core.state import initial_state
from control_plane.hosting import Adopted, Exited
from control_plane.supervisor import Identity, Supervisor, intake
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

EVENTS = "novel:ctl:events"


class Bus(MemoryTransport):
    """A bus that may be full: then it takes nothing, while those who read just wait.

    One that is not `frozen.is_set()` lets nobody read, while its writers are heard already.
    """

    full = False

    def __init__(self) -> None:
        super().__init__()
        self.frozen = asyncio.Event()
        self.frozen.set()

    async def tail(self, *args: Any, **options: Any) -> Any:
        entries = await super().tail(*args, **options)
        await self.frozen.wait()
        return entries

    async def append_log(self, stream: str, fields: Mapping[str, str], *, max_len: int) -> str:
        if self.full:
            raise BusUnavailable("out of memory")
        return await super().append_log(stream, fields, max_len=max_len)


class Leads:
    """A lease that nobody else wants."""

    is_certain = True

    async def confirm(self) -> None:
        raise AssertionError("nobody doubts it")


class Hosts:
    """A hosting that only takes notes."""

    last_epoch = 0

    def __init__(self) -> None:
        self.spawned: list[str] = []
        self.killed: list[str] = []

    async def spawn(self, spec: HostSpec) -> int:
        self.spawned.append(spec.id)
        return 1

    async def terminate(self, host: str) -> None:
        raise AssertionError("nothing is to stop")

    async def kill(self, host: str, *, within_s: float | None = None) -> bool:
        self.killed.append(host)
        return True

    def adopted(self) -> Sequence[Adopted]:
        return ()

    async def remember(self, memory: dict[str, Any]) -> None:
        self.memory = memory

    def recall(self) -> dict[str, Any]:
        return {}

    async def events(self) -> AsyncIterator[Exited]:
        await asyncio.Event().wait()
        yield Exited("", 0, 0, None)


def supervisor(bus: Bus, hosts: Hosts) -> Supervisor:
    """Return a supervisor of one component, `writer`, in multi mode."""
    writer = ComponentSpec(name="writer", use="agents:Writer", prefix="/writer")
    settings = Settings(app=AppSpec(name="novel"), components={"writer": writer})
    identity = Identity(
        settings, mode=Mode.MULTI, epoch=1, node="local", gateway_url="", control_url="", started_s=0.0
    )
    state = initial_state(settings, Mode.MULTI)
    return Supervisor(identity, state=state, transport=bus, hosting=hosts, leadership=Leads())


def heartbeat(host: str) -> dict[str, str]:
    """Return the entry in which a host says that its writer is ready, and that it speaks every 50 ms."""
    report = ReplicaReport(replica="writer-1", component="writer", state=ReplicaState.READY)
    return to_fields(HostHeartbeat(host=host, pid=1, interval_s=0.05, replicas=(report,)))


async def test_silence_is_held_against_a_host_only_while_it_could_be_heard() -> None:
    """A bus that takes nothing, because it is full or frozen, is silent for every host at once."""
    bus, hosts = Bus(), Hosts()
    watching = supervisor(bus, hosts)
    running = asyncio.ensure_future(watching.run())
    await eventually(lambda: hosts.spawned)
    (host,) = hosts.spawned
    await bus.append_log(EVENTS, heartbeat(host), max_len=100)
    await eventually(lambda: watching.status().ready)
    bus.full = True
    await asyncio.sleep(0.5)
    assert not hosts.killed
    bus.full = False
    await bus.append_log(EVENTS, heartbeat(host), max_len=100)
    await eventually(lambda: hosts.killed == [host])
    running.cancel()
    await asyncio.wait({running})


async def test_what_hosts_said_while_the_bus_was_frozen_is_heard_before_silence_counts() -> None:
    """The probe of a bus that has just come back may be answered before what it held back was read."""
    bus, hosts = Bus(), Hosts()
    watching = supervisor(bus, hosts)
    running = asyncio.ensure_future(watching.run())
    await eventually(lambda: hosts.spawned)
    (host,) = hosts.spawned
    await bus.append_log(EVENTS, heartbeat(host), max_len=100)
    await eventually(lambda: watching.status().ready)
    bus.frozen.clear()
    for _ in range(4):
        await bus.append_log(EVENTS, heartbeat(host), max_len=100)
        await asyncio.sleep(0.1)
    assert not hosts.killed
    bus.frozen.set()
    await bus.append_log(EVENTS, heartbeat(host), max_len=100)
    await eventually(lambda: watching.status().bus.connected)
    await bus.append_log(EVENTS, heartbeat(host), max_len=100)
    assert not hosts.killed
    running.cancel()
    await asyncio.wait({running})


async def test_a_host_falls_silent_although_others_speak_all_the_time() -> None:
    """The time to look again comes between two of their heartbeats too."""
    bus, hosts = Bus(), Hosts()
    watching = supervisor(bus, hosts)
    running = asyncio.ensure_future(watching.run())
    await eventually(lambda: hosts.spawned)
    (host,) = hosts.spawned
    await bus.append_log(EVENTS, heartbeat(host), max_len=100)
    await eventually(lambda: watching.status().ready)

    async def speak() -> None:
        while True:
            await bus.append_log(EVENTS, heartbeat("stranger"), max_len=100)
            await asyncio.sleep(0)

    speaking = asyncio.ensure_future(speak())
    await eventually(lambda: hosts.killed == [host])
    for task in (running, speaking):
        task.cancel()
    await asyncio.wait({running, speaking})


async def test_a_lag_of_our_own_is_not_held_against_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PROBE_TIMEOUT_S", 0.2)
    bus = Bus()
    reading = intake.Intake(bus, app="novel", inbox=asyncio.Queue(), leader=Leads())
    running = asyncio.ensure_future(reading.read_events())
    await asyncio.sleep(0)
    bus.frozen.clear()
    await bus.append_log(EVENTS, heartbeat("h1-1"), max_len=100)

    def lag() -> None:
        time.sleep(0.4)
        bus.frozen.set()

    probing = asyncio.ensure_future(reading.is_bus_there())
    asyncio.get_running_loop().call_later(0.01, lag)
    assert await probing
    running.cancel()
    await asyncio.wait({running})


async def test_why_a_request_was_refused_that_somebody_wrote_by_hand_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bus = Bus()
    wish = {"v": "1", "type": "restart", "component": "wirter", "request_id": "mine"}
    await bus.append_log("novel:ctl:requests", wish, max_len=100)
    running = asyncio.ensure_future(supervisor(bus, Hosts()).run())
    await eventually(lambda: "request.refused" in caplog.text)
    (refused,) = [record for record in caplog.records if record.message == "request.refused"]
    assert (refused.request, refused.error["code"]) == ("mine", "E3002")  # type: ignore[attr-defined]
    running.cancel()
    await asyncio.wait({running})
