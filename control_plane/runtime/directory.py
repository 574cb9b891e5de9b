"""Who answers what: endpoints of every component, learnt from the event stream.

Replicas in this host are known at once, through the host; the others through `{app}:ctl:events`.
Level-triggered: a heartbeat replaces everything known about its host. A host that was silent for
three intervals is forgotten. Time in which nobody was heard at all is nobody's silence: that was the bus.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from contracts.component import AsgiApp, Endpoint
from contracts.errors import BusError
from contracts.messages import (
    EPOCH,
    ComponentTransitioned,
    HostHeartbeat,
    HostStopping,
    MalformedEntry,
    Message,
    from_fields,
)
from contracts.status import ReplicaReport, ReplicaState
from control_plane.brokers import Entry, StreamTransport
from control_plane.runtime.announcer import events_stream

log = logging.getLogger("coplane.directory")

SERVING = frozenset({ReplicaState.READY, ReplicaState.DEGRADED})
LEAVING = frozenset({ReplicaState.DRAINING})
MISSED_INTERVALS = 3
SILENT_INTERVALS = 2
HISTORY_READ = 500
EVENTS_READ = 100
BLOCK_S = 30.0
BUS_PAUSE_S = 1.0
UNKNOWN_INTERVAL_S = 10.0


@dataclass
class _KnownHost:
    address: str
    last_seen_s: float
    interval_s: float = 0.0  # until its first heartbeat says it
    replicas: dict[str, ReplicaReport] = field(default_factory=dict)


class EventDirectory:
    """Keeps the endpoints up to date from local hosts and from remote events.

    It follows the event stream only from the first time somebody asks: most hosts never do.
    """

    def __init__(
        self,
        transport: StreamTransport,
        *,
        app: str,
        local_host: str,
        now_s: Callable[[], float],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._transport = transport
        self._stream = events_stream(app)
        self._local_host = local_host
        self._now_s = now_s
        self._run = run
        self._following: asyncio.Task[None] | None = None
        self._position = ""
        self._read = asyncio.Event()
        self._heard_s = now_s()
        self._hosts: dict[str, _KnownHost] = {}
        self._local: dict[str, tuple[ReplicaReport, AsgiApp | None]] = {}
        self._changed = asyncio.Event()

    # What the host says of its own replicas.

    def set_local(self, report: ReplicaReport, app: AsgiApp | None) -> None:
        """Take note of the present state of a replica in this process."""
        self._local[report.replica] = (report, app)
        self._mark_changed()

    # What gateways and callers ask.

    def endpoints(self) -> Sequence[Endpoint]:
        """Return every endpoint that may get requests, in the order of replica ids.

        One that drains is among them while its component has nobody else: it still answers for a moment.
        """
        found = [*self._local_endpoints(SERVING), *self._remote_endpoints(SERVING)]
        served = {endpoint.component for endpoint in found}
        draining = [*self._local_endpoints(LEAVING), *self._remote_endpoints(LEAVING)]
        found += [endpoint for endpoint in draining if endpoint.component not in served]
        return sorted(found, key=lambda endpoint: (endpoint.component, endpoint.replica))

    async def changes(self) -> AsyncIterator[Sequence[Endpoint]]:
        """Iterate over the whole list, at once and after every change."""
        self._start_following()
        previous: Sequence[Endpoint] | None = None
        while True:
            changed = self._changed
            current = self.endpoints()
            if current != previous:
                previous = current
                yield current
            await changed.wait()

    def status(self) -> Mapping[str, Any]:
        """Return the state of every known replica, by component.

        No two hosts are to run a replica of the same id. Where two tell of one, as after a move, or after a
        death that kept a host from saying that its replica stopped, it is in the state that is the newest;
        not stopped, though, where it is anything else: one that moved may have taken long to end.
        """
        reports = [report for report, _ in self._local.values()]
        reports += [report for host in self._hosts.values() for report in host.replicas.values()]
        reports.sort(key=_newest_last)
        known: dict[str, dict[str, str]] = {}
        for report in reports:
            known.setdefault(report.component, {})[report.replica] = report.state
        return known

    # How it learns.

    async def caught_up(self) -> None:
        """Wait until what was said before now has been read, and for the bus, while that is away."""
        self._start_following()
        end = _order(await self._end())
        while not self._position or _order(self._position) < end:
            await self._read.wait()

    def stop(self) -> None:
        """Stop following the event stream."""
        if self._following is not None:
            self._following.cancel()

    def _start_following(self) -> None:
        if self._following is None:
            self._following = self._run(self._follow())

    async def _follow(self) -> None:
        while True:
            try:
                if not self._position:
                    self._has_read(await self._read_history())
                entries = await self._transport.tail(
                    {self._stream: self._position}, count=EVENTS_READ, block_s=BLOCK_S
                )
            except BusError:
                # What was known stays true until a host says otherwise; the transport reconnects.
                await asyncio.sleep(BUS_PAUSE_S)
                continue
            if entries:
                self._hear_again(self._now_s())
            for _, entry in entries:
                self._apply_fields(entry.fields)
                self._has_read(entry.id)
            self._forget_silent()

    async def _end(self) -> str:
        while True:
            try:
                return await self._transport.last_id(self._stream)
            except BusError:
                await asyncio.sleep(BUS_PAUSE_S)

    def _has_read(self, position: str) -> None:
        self._position = position
        self._read.set()
        self._read = asyncio.Event()

    async def _read_history(self) -> str:
        history = await self._transport.range(self._stream, count=HISTORY_READ, reverse=True)
        now_s = self._now_s()
        # As if we had been there: a host that had died before we began was last heard then, and not now.
        ages_s = [(_ms(history[0]) - _ms(entry)) / 1000 for entry in history]
        self._heard_s = now_s - max(ages_s, default=0.0)
        for entry, age_s in zip(reversed(history), reversed(ages_s), strict=True):
            self._hear_again(now_s - age_s)
            self._apply_fields(entry.fields)
        self._forget_silent()
        return history[0].id if history else "0-0"

    def _apply_fields(self, fields: Mapping[str, str]) -> None:
        try:
            message = from_fields(fields)
        except MalformedEntry:
            return
        self._apply(message)

    def _apply(self, message: Message) -> None:
        match message:
            case HostHeartbeat() if message.host != self._local_host:
                self._hosts[message.host] = _KnownHost(
                    message.endpoint,
                    self._heard_s,
                    message.interval_s,
                    {report.replica: report for report in message.replicas},
                )
                self._mark_changed()
            case ComponentTransitioned() if message.host not in ("", self._local_host):
                self._transition(message)
                self._mark_changed()
            case HostStopping() if message.host in self._hosts:
                # Its replicas announce their drain one by one; nothing new goes there from here on.
                self._hosts[message.host].replicas.clear()
                self._mark_changed()
            case _:
                pass

    def _transition(self, message: ComponentTransitioned) -> None:
        if message.to_state in (ReplicaState.STOPPED, ReplicaState.LOST):
            # A host that is heard of for the first time by its end is none: it would never speak, and
            # its interval would count when silence is judged.
            if message.host in self._hosts:
                self._hosts[message.host].replicas.pop(message.replica, None)
            return
        host = self._hosts.setdefault(message.host, _KnownHost(message.endpoint, self._heard_s))
        host.address = message.endpoint or host.address
        host.last_seen_s = self._heard_s
        host.replicas[message.replica] = ReplicaReport(
            component=message.component,
            replica=message.replica,
            state=message.to_state,
            since=message.at,
            prefix=message.prefix,
            health=message.health,
            reason=message.reason,
        )

    def _forget_silent(self) -> None:
        for name, host in list(self._hosts.items()):
            silent_s = self._heard_s - host.last_seen_s
            if silent_s > MISSED_INTERVALS * (host.interval_s or UNKNOWN_INTERVAL_S):
                del self._hosts[name]
                self._mark_changed()
                log.info("host.forgotten", extra={"host": name, "silent_s": round(silent_s, 3)})

    def _hear_again(self, now_s: float) -> None:
        """Count no time in which nobody was heard, our own host included.

        Where nobody has told an interval yet, nobody is blamed.
        """
        silence_s = now_s - self._heard_s
        longest_s = max((host.interval_s for host in self._hosts.values()), default=0.0)
        if silence_s > SILENT_INTERVALS * longest_s:
            for host in self._hosts.values():
                host.last_seen_s += silence_s
        self._heard_s = now_s

    def _mark_changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _local_endpoints(self, states: Set[ReplicaState]) -> Iterable[Endpoint]:
        for report, app in self._local.values():
            if report.state in states and app is not None:
                yield _endpoint(report, app=app)

    def _remote_endpoints(self, states: Set[ReplicaState]) -> Iterable[Endpoint]:
        for host in self._hosts.values():
            for report in host.replicas.values():
                if report.state in states and report.prefix:
                    yield _endpoint(report, address=host.address)


def _newest_last(report: ReplicaReport) -> tuple[str, bool, float]:
    since = report.since or EPOCH
    return report.replica, report.state is not ReplicaState.STOPPED, since.timestamp()


def _order(entry_id: str) -> tuple[int, ...]:
    return tuple(map(int, entry_id.split("-")))


def _ms(entry: Entry) -> int:
    return int(entry.id.partition("-")[0])


def _endpoint(report: ReplicaReport, *, address: str = "", app: AsgiApp | None = None) -> Endpoint:
    return Endpoint(
        component=report.component,
        replica=report.replica,
        prefix=report.prefix,
        ready=report.state is ReplicaState.READY,
        address=address,
        app=app,
    )
