"""The actor: feeds what happens to `core`, and carries out the effects it answers.

One inbox, one loop. What hosts say, what operators request and what the hosting tells all become
inputs of `reduce`; `plan` says what to do and when to look again, and that is the only timer. It
decides nothing itself: what is wanted, and what follows from what was seen, is in `core`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any

from contracts.errors import BusError, ComponentError, CoplaneError
from contracts.messages import AnyRequest, ComponentTransitioned, ReportHost, StartReplica, StopReplica
from contracts.specs import HostSpec, Mode, ReplicaSpec, Settings
from contracts.status import (
    AppStatus,
    BusStatus,
    ControlPlaneStatus,
    GatewayStatus,
    ReplicaState,
    StopReport,
    StreamLedger,
)
from control_plane.brokers import StreamTransport
from control_plane.core import (
    Answer,
    BusLost,
    Effect,
    HostExited,
    HostSpawned,
    Input,
    Issued,
    KillHost,
    SendStart,
    SendStop,
    SpawnFailed,
    SpawnHost,
    State,
    StopAll,
    StopHost,
    TimePassed,
    component_statuses,
    is_ready,
    is_settled,
    is_stopped,
    log_loss_text,
    plan,
    reduce,
    warnings,
)
from control_plane.hosting import Adopted, Hosting
from control_plane.runtime import clock
from control_plane.runtime.announcer import Announcer, events_stream
from control_plane.runtime.losses import LOSSES
from control_plane.supervisor.commander import Commander
from control_plane.supervisor.intake import Intake
from control_plane.supervisor.ledgers import read_ledgers
from control_plane.supervisor.requests import Requests

log = logging.getLogger("coplane.supervisor")

INBOX_LENGTH = 10_000
LEDGER_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 1.0
EVENTS_READ = 500
BLOCK_S = 30.0


@dataclass(frozen=True)
class Identity:
    """What does not change while this control plane lives."""

    settings: Settings
    mode: Mode
    epoch: int
    node: str
    gateway_url: str
    control_url: str
    started_s: float


class Supervisor:
    """Keeps what is observed in step with what is wanted; the API's `Controller`."""

    def __init__(
        self, identity: Identity, *, state: State, transport: StreamTransport, hosting: Hosting
    ) -> None:
        app = identity.settings.app.name
        self._identity = identity
        self._app = app
        self._state = state
        self._transport = transport
        self._hosting = hosting
        self._inbox: asyncio.Queue[Input] = asyncio.Queue(maxsize=INBOX_LENGTH)
        self._announcer = Announcer(transport, app=app, node=identity.node, utc_now=clock.utc_now)
        self._commander = Commander(transport, app=app)
        self._intake = Intake(transport, app=app, inbox=self._inbox)
        self._requests = Requests(transport, app=app)
        self._changed = asyncio.Event()
        self.stop_asked = asyncio.Event()
        self._stopped: asyncio.Future[StopReport] | None = None
        self._forced: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None

    # Life.

    async def run(self) -> None:
        """Supervise until everything was stopped."""
        self._stopped = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            background = [
                tasks.create_task(work)
                for work in (
                    self._announcer.run(),
                    self._commander.run(),
                    self._intake.read_events(),
                    self._intake.read_requests(),
                    self._watch_hosts(),
                )
            ]
            await self._act()
            report = await self._report()
            await self._announcer.flush(timeout_s=FLUSH_TIMEOUT_S)
            for task in background:
                task.cancel()
        self._stopped.set_result(report)

    async def _act(self) -> None:
        for adopted in self._hosting.adopted():
            self._step(HostSpawned(adopted.host, adopted.pid, adopted.replicas))
            self._ask_for_report(adopted)
        wake_at_s = self._plan()
        while not is_stopped(self._state):
            self._step(await self._next_input(wake_at_s))
            while not self._inbox.empty():
                self._step(self._inbox.get_nowait())
            wake_at_s = self._plan()
            self._tell_change()

    async def _next_input(self, wake_at_s: float | None) -> Input:
        timeout_s = None if wake_at_s is None else max(0.0, wake_at_s - clock.now_s())
        try:
            async with asyncio.timeout(timeout_s):
                return await self._inbox.get()
        except TimeoutError:
            await self._doubt_silence()
            return TimePassed()

    async def _doubt_silence(self) -> None:
        """Before silence is held against hosts, see whether they could be heard, and hear them."""
        if self._state.observed.bus_connected and not await self._intake.is_bus_there():
            log.warning("bus.silent")
            self._step(BusLost())
        while not self._inbox.empty():
            self._step(self._inbox.get_nowait())

    def _step(self, event: Input) -> None:
        if isinstance(event, HostExited):
            self._speak_for_the_dead(event)
        # Spreads restarts out; nothing here is a secret.
        jitter = random.random()
        self._state, effects = reduce(self._state, event, now_s=clock.now_s(), jitter=jitter)
        for effect in effects:
            self._carry_out(effect)

    def _plan(self) -> float | None:
        planned = plan(self._state, now_s=clock.now_s())
        for effect in planned.effects:
            self._state, _ = reduce(self._state, Issued(effect), now_s=clock.now_s())
            self._carry_out(effect)
        if planned.effects:
            log.debug("plan.issued", extra=planned.log_fields())
        return planned.wake_at_s

    # Effects.

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SpawnHost():
                self._run(self._spawn(effect))
            case SendStart():
                self._commander.send(StartReplica(**self._header(effect)))
            case SendStop():
                self._commander.send(
                    StopReplica(**self._header(effect), grace_period_s=effect.grace_period_s)
                )
            case StopHost():
                self._run(self._end_host(self._hosting.terminate(effect.host)))
            case KillHost():
                log.warning("host.killed", extra={"host": effect.host, "reason": effect.reason})
                self._forced.add(effect.host)
                self._run(self._end_host(self._hosting.kill(effect.host)))
            case Answer():
                self._requests.answer(effect)

    def _header(self, effect: SendStart | SendStop) -> dict[str, Any]:
        return {
            "component": effect.component,
            "replica": effect.replica,
            "host": effect.host,
            "command_id": effect.command_id,
            "epoch": self._identity.epoch,
            "node": self._identity.node,
            "at": clock.utc_now(),
        }

    async def _spawn(self, effect: SpawnHost) -> None:
        try:
            pid = await self._hosting.spawn(self._host_spec(effect))
        except CoplaneError as exc:
            await self._inbox.put(SpawnFailed(effect.host, exc.as_dict()))
        else:
            await self._inbox.put(HostSpawned(effect.host, pid, effect.replicas))

    async def _end_host(self, ending: Coroutine[Any, Any, None]) -> None:
        try:
            await ending
        except CoplaneError as exc:
            # The plan asks again until the host has exited; if the anchor is gone, its events say so.
            log.warning("host.not_ended", extra={"error": str(exc)})

    def _host_spec(self, effect: SpawnHost) -> HostSpec:
        components = self._identity.settings.components
        return HostSpec(
            id=effect.host,
            label=effect.key,
            epoch=self._identity.epoch,
            app=self._app,
            mode=self._identity.mode,
            node=self._identity.node,
            replicas=tuple(
                ReplicaSpec(id=replica, component=components[component])
                for replica, component in effect.replicas
            ),
        )

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None, "effects are carried out only while the supervisor runs"
        self._tasks.create_task(work)

    # Hosts.

    async def _watch_hosts(self) -> None:
        async for event in self._hosting.events():
            await self._inbox.put(
                HostExited(event.host, event.pid, exit_code=event.exit_code, signal=event.signal)
            )

    def _ask_for_report(self, adopted: Adopted) -> None:
        _, component = adopted.replicas[0]
        self._commander.send(
            ReportHost(
                component=component,
                host=adopted.host,
                command_id=f"report-{self._identity.epoch}-{adopted.host}",
                epoch=self._identity.epoch,
                at=clock.utc_now(),
            )
        )

    def _speak_for_the_dead(self, exited: HostExited) -> None:
        """Tell gateways of replicas whose host can no longer say it."""
        how = f"signal {exited.signal}" if exited.signal else f"exit code {exited.exit_code}"
        for name, record in self._state.observed.replicas.items():
            if record.host == exited.host and record.state is not ReplicaState.STOPPED:
                self._announcer.announce(
                    ComponentTransitioned(
                        component=record.component,
                        replica=name,
                        host=exited.host,
                        from_state=record.state,
                        to_state=ReplicaState.LOST,
                        reason=f"its host ended with {how}",
                    )
                )

    # What the launch and the API ask.

    def status(self) -> AppStatus:
        """Return the status of the whole application."""
        identity, transport = self._identity, self._transport
        return AppStatus(
            app=self._app,
            mode=identity.mode,
            ready=is_ready(self._state),
            control_plane=ControlPlaneStatus(
                pid=os.getpid(),
                epoch=identity.epoch,
                uptime_s=round(clock.now_s() - identity.started_s, 3),
                url=identity.control_url,
            ),
            gateway=GatewayStatus(url=identity.gateway_url),
            bus=BusStatus(kind=transport.kind, url=transport.url, connected=self._is_bus_connected()),
            components=component_statuses(self._state, now_s=clock.now_s()),
            warnings=(*warnings(self._state), *self._own_warnings()),
        )

    def _is_bus_connected(self) -> bool:
        # A connection to a bus that is frozen, or refuses to write, is there and of no use.
        return self._transport.connected and self._state.observed.bus_connected

    def _own_warnings(self) -> tuple[str, ...]:
        loss = LOSSES.so_far()
        if loss is None or self._identity.mode is Mode.SINGLE:  # where the host tells of the same process
            return ()
        return (log_loss_text("the control plane", loss),)

    async def changes(self) -> AsyncIterator[AppStatus]:
        """Iterate over the status: now, and after each change."""
        while True:
            changed = self._changed
            yield self.status()
            await changed.wait()

    @property
    def state(self) -> State:
        """What is wanted and observed."""
        return self._state

    @property
    def settled(self) -> bool:
        """Tell whether every wanted replica is ready or has failed."""
        return is_settled(self._state)

    def is_essential(self, component: str) -> bool:
        """Tell whether the component's failure fails the launch."""
        return self._identity.settings.components[component].essential

    def error_of(self, component: str) -> CoplaneError:
        """Return why the component has failed."""
        for name, record in sorted(self._state.observed.replicas.items()):
            if record.component == component and record.state is ReplicaState.FAILED:
                if record.error:
                    return CoplaneError.from_dict(dict(record.error))
                return ComponentError(f"replica '{name}' failed", why=record.reason or "")
        return ComponentError(f"component '{component}' failed")

    async def request(self, request: AnyRequest, *, wait_s: float | None = None) -> dict[str, Any]:
        """Publish a request and return its outcome; with `wait_s`, wait until what was asked for is so.

        Raises:
            ControlError: the request was refused, or not answered or done in time.
        """
        request_id = await self._requests.send(request)
        if wait_s is not None:
            settled = self._until_settled(request.component)
            await self._requests.wait_until_done(request, settled, timeout_s=wait_s)
        return {"request_id": request_id, "accepted": True, "component": request.component}

    async def _until_settled(self, component: str) -> None:
        async for _ in self.changes():
            if is_settled(self._state, component=component):
                return

    async def stop(self) -> StopReport:
        """Drain and stop everything; return what was accepted, acknowledged and left, per stream."""
        assert self._stopped is not None, "stop is for a supervisor that runs"
        self.stop_asked.set()
        await self._inbox.put(StopAll())
        if not await self._takes_commands():
            # No command would arrive; told by the anchor, hosts drain by themselves, all at once.
            for host in self._state.observed.hosts:
                await self._end_host(self._hosting.terminate(host))
        return await asyncio.shield(self._stopped)

    async def _takes_commands(self) -> bool:
        """Ask the bus: one that froze a moment ago is not known as such yet."""
        if self._state.observed.bus_connected and not await self._intake.is_bus_there():
            await self._inbox.put(BusLost())
            return False
        return self._state.observed.bus_connected

    async def kill_hosts(self) -> None:
        """Kill every host now; nothing is drained any more."""
        for host in list(self._state.observed.hosts):
            self._forced.add(host)
            await self._hosting.kill(host)

    async def streams(self) -> list[StreamLedger]:
        """Return the ledger of each stream and consumer group."""
        return await read_ledgers(self._transport, self._app)

    async def events(
        self, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[tuple[str, dict[str, str]]]:
        """Iterate over the entries of the event stream after `since`; with `follow`, for ever."""
        stream = events_stream(self._app)
        position = since or "0-0"
        while True:
            entries = await self._transport.tail(
                {stream: position}, count=EVENTS_READ, block_s=BLOCK_S if follow else 0.0
            )
            for _, entry in entries:
                position = entry.id
                yield entry.id, dict(entry.fields)
            if not entries and not follow:
                return

    async def _report(self) -> StopReport:
        problem = ""
        ledgers: list[StreamLedger] = []
        try:
            async with asyncio.timeout(LEDGER_TIMEOUT_S):
                ledgers = await self.streams()
        except (BusError, TimeoutError) as exc:
            problem = f"the ledger could not be read: {str(exc) or 'no answer in time'}"
        return StopReport(
            streams=tuple(ledgers),
            ok=not problem and all(ledger.adds_up for ledger in ledgers),
            stopped=tuple(sorted(self._state.observed.replicas)),
            forced=tuple(sorted(self._forced)),
            problem=problem,
        )

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
