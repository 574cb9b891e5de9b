"""Simulated hosts, and a real control plane that has taken them over: each for a process of its own.

A host is its heartbeats and nothing else; no replica runs. They speak in turn and evenly spread. The
control plane is the supervisor as the launcher makes it, over a real bus; only what would end or spawn
processes is not there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import uvloop
from redis import Redis

from contracts.messages import HostHeartbeat, to_fields
from contracts.specs import AppSpec, ComponentSpec, HealthSpec, HostSpec, Mode, Settings
from contracts.status import Health, ReplicaReport, ReplicaState
from control_plane.brokers import Entry
from control_plane.brokers.redis_transport import RedisTransport
from control_plane.core.state import initial_state
from control_plane.hosting import Adopted, Exited
from control_plane.runtime import images
from control_plane.runtime.announcer import EVENTS_KEPT, events_stream
from control_plane.supervisor import Identity, Supervisor
from tests.support.wait import eventually

APP: Final = "simulated"
COMPONENTS_A_HOST: Final = 10
INTERVAL_S: Final = HealthSpec().interval_s
PID: Final = 1
# The hosts were spawned by the control plane before this one.
EPOCH: Final = 2
REBUILD_LIMIT_S: Final = 60.0
# Looking takes about a millisecond itself.
LOOK_EVERY_S: Final = 0.05
# What waited to be read while it was not all known is read by then, where that is possible.
SETTLE_S: Final = INTERVAL_S


@dataclass(frozen=True)
class Measured:
    """How a control plane did. `heard`: what it read of the event stream in `took_s`, for `cpu_s`."""

    rebuild_s: float
    took_s: float
    cpu_s: float
    heard: int


# The hosts.


def write_heartbeats(url: str, *, hosts: int, a_second: float) -> None:
    """Let the hosts speak in turn, `a_second` heartbeats in all, until this process is ended."""
    client, stream = Redis.from_url(url), events_stream(APP)
    began_s, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began_s) * a_second)
        pipeline = client.pipeline(transaction=False)
        for number in range(sent, due):
            fields: dict[Any, Any] = {**to_fields(_heartbeat(number % hosts, time.monotonic() - began_s))}
            pipeline.xadd(stream, fields, maxlen=EVENTS_KEPT, approximate=True)
        pipeline.execute()
        sent = due
        time.sleep(max(0.0, began_s + (sent + 1) / a_second - time.monotonic()))


def _heartbeat(host: int, uptime_s: float) -> HostHeartbeat:
    now = datetime.now(UTC)
    reports = tuple(
        ReplicaReport(
            component=name,
            replica=f"{name}-1",
            state=ReplicaState.READY,
            since=now,
            prefix=f"/{name}",
            uptime_s=round(uptime_s, 3),
            health=Health(status="ok", latency_ms=0.2, checked_at=now),
        )
        for name in _names(host)
    )
    return HostHeartbeat(
        host=_host_id(host),
        pid=PID,
        at=now,
        endpoint=f"unix:/run/{APP}/{_host_id(host)}.sock",
        interval_s=INTERVAL_S,
        rss_bytes=50_000_000,
        cpu_percent=0.5,
        replicas=reports,
    )


def _host_id(host: int) -> str:
    return f"h{EPOCH - 1}-{host + 1}"


def _group(host: int) -> str:
    return f"group{host}"


def _names(host: int) -> Sequence[str]:
    first = host * COMPONENTS_A_HOST
    return [f"component{number}" for number in range(first, first + COMPONENTS_A_HOST)]


# The control plane.


def supervise(url: str, *, hosts: int, window_s: float) -> Measured:
    """Take over the hosts, which run; wait until all of it is known, and look on for `window_s`."""
    settings = _settings(hosts)
    images.freeze()  # as the launcher does before its loop
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_supervise(url, settings, hosts=hosts, window_s=window_s))


async def _supervise(url: str, settings: Settings, *, hosts: int, window_s: float) -> Measured:
    began_s = time.monotonic()
    transport = _CountingTransport(url)
    identity = Identity(settings, Mode.HYBRID, EPOCH, "local", "", "", began_s)
    state = initial_state(settings, Mode.HYBRID, epoch=EPOCH)
    supervisor = Supervisor(
        identity, state=state, transport=transport, hosting=_RunningHosts(hosts), leadership=_Leads()
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await eventually(
            lambda: _is_all_known(supervisor, len(settings.components)), REBUILD_LIMIT_S, every_s=LOOK_EVERY_S
        )
        rebuild_s = time.monotonic() - began_s
        await asyncio.sleep(SETTLE_S)
        before = await transport.next_read()
        await asyncio.sleep(window_s)
        after = await transport.next_read()
        if not _is_all_known(supervisor, len(settings.components)):
            raise RuntimeError("the control plane lost hosts that spoke all the time")
        running.cancel()
    await transport.close()
    return Measured(
        rebuild_s, after.at_s - before.at_s, after.cpu_s - before.cpu_s, after.heard - before.heard
    )


def _is_all_known(supervisor: Supervisor, components: int) -> bool:
    known = supervisor.state.observed.replicas.values()
    return sum(record.state is ReplicaState.READY for record in known) == components


def _settings(hosts: int) -> Settings:
    specs = [
        ComponentSpec(name=name, use="simulated:Component", prefix=f"/{name}", group=_group(host))
        for host in range(hosts)
        for name in _names(host)
    ]
    return Settings(app=AppSpec(name=APP, mode=Mode.HYBRID), components={spec.name: spec for spec in specs})


@dataclass(frozen=True)
class _Mark:
    """What was read of the event stream, and what it took, when more is read."""

    heard: int
    at_s: float
    cpu_s: float


class _CountingTransport(RedisTransport):
    """Counts what is read of the event stream.

    A control plane that is behind reads 200 entries at once, and then computes for long: only from one
    read to another does what it took belong to what it has read.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._heard = 0
        self._next_read: asyncio.Future[_Mark] | None = None

    async def next_read(self) -> _Mark:
        """Wait until more is read."""
        self._next_read = asyncio.get_running_loop().create_future()
        return await self._next_read

    async def tail(self, *args: Any, **options: Any) -> list[tuple[str, Entry]]:
        if self._next_read is not None and not self._next_read.done():
            self._next_read.set_result(_Mark(self._heard, time.monotonic(), time.process_time()))
        entries = await super().tail(*args, **options)
        self._heard += len(entries)
        return entries


class _Leads:
    """A lease that nobody else wants."""

    is_certain = True

    async def confirm(self) -> None:
        """Nothing to make certain."""


class _RunningHosts:
    """Hosts that run already. That one is to be spawned or to end is a fault of whoever wants it."""

    last_epoch = EPOCH - 1

    def __init__(self, hosts: int) -> None:
        self._hosts = hosts

    async def spawn(self, spec: HostSpec) -> int:
        raise RuntimeError(f"'{spec.id}' is to be spawned, although all hosts run")

    async def terminate(self, host: str) -> None:
        raise RuntimeError(f"'{host}' is to end, although it is needed")

    async def kill(self, host: str, *, within_s: float | None = None) -> bool:
        raise RuntimeError(f"'{host}' is to be killed, although it speaks all the time")

    def adopted(self) -> Sequence[Adopted]:
        return [
            Adopted(
                _host_id(host),
                PID,
                tuple((f"{name}-1", name) for name in _names(host)),
                f"group.{_group(host)}",
            )
            for host in range(self._hosts)
        ]

    async def remember(self, memory: dict[str, Any]) -> None:
        """Nobody comes after this one."""

    def recall(self) -> dict[str, Any]:
        return {}

    async def events(self) -> AsyncIterator[Exited]:
        await asyncio.Event().wait()
        yield Exited("", 0, 0, None)
