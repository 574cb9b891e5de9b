"""The actor: feeds what happens to `core`, and carries out the effects it answers.

One inbox, one loop. What hosts say, what operators request and what the hosting tells all become
inputs of `reduce`; `plan` says what to do, `next_wake_s` when to look again, and that is the only timer. It
decides nothing itself: what is wanted, and what follows from what was seen, is in `core`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

from contracts.errors import BusError, ComponentError, CoplaneError
from contracts.messages import AnyRequest, ComponentTransitioned
from contracts.specs import Mode
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
from control_plane.core.deadlines import next_wake_s
from control_plane.core.inputs import (
    BusLost,
    HostDelayed,
    HostExited,
    HostSpawned,
    Input,
    Issued,
    StopAll,
    TimePassed,
)
from control_plane.core.reconciler import concerns_plan, plan
from control_plane.core.reducer import reduce
from control_plane.core.state import State
from control_plane.core.status import (
    component_statuses,
    is_ready,
    is_settled,
    is_stopped,
    log_loss_text,
    warnings,
)
from control_plane.hosting import Delayed, Hosting
from control_plane.runtime import clock
from control_plane.runtime.announcer import Announcer, events_stream
from control_plane.runtime.losses import LOSSES
from control_plane.supervisor.announcing import changes, decisions, last_words
from control_plane.supervisor.commander import Commander
from control_plane.supervisor.executor import Executor
from control_plane.supervisor.identity import Identity
from control_plane.supervisor.intake import Intake, Leader
from control_plane.supervisor.keeper import Keeper
from control_plane.supervisor.ledgers import read_ledgers
from control_plane.supervisor.requests import Requests

log = logging.getLogger("coplane.supervisor")

INBOX_LENGTH = 10_000
LEDGER_TIMEOUT_S = 5.0
FLUSH_TIMEOUT_S = 1.0
EVENTS_READ = 500
BLOCK_S = 30.0
# Of many inputs at once; a step takes a fraction of a millisecond.
STEPS_IN_A_ROW = 50


class Supervisor:
    """Keeps what is observed in step with what is wanted; the API's `Controller`."""

    def __init__(
        self,
        identity: Identity,
        *,
        state: State,
        transport: StreamTransport,
        hosting: Hosting,
        leadership: Leader,
    ) -> None:
        app = identity.settings.app.name
        self._identity = identity
        self._app = app
        self._state = state
        self._planned = state
        self._wake_at_s: float | None = None
        self._keeper = Keeper(hosting)
        self._transport = transport
        self._hosting = hosting
        self._inbox: asyncio.Queue[Input] = asyncio.Queue(maxsize=INBOX_LENGTH)
        self._announcer = Announcer(transport, app=app, node=identity.node, utc_now=clock.utc_now)
        self._commander = Commander(transport, app=app)
        self._intake = Intake(transport, app=app, inbox=self._inbox, leader=leadership)
        self._requests = Requests(transport, app=app)
        self._executor = Executor(
            identity,
            hosting=hosting,
            commander=self._commander,
            requests=self._requests,
            announcer=self._announcer,
            inbox=self._inbox,
        )
        self._changed = asyncio.Event()
        self.stop_asked = asyncio.Event()
        self._stopped: asyncio.Future[StopReport] | None = None

    # Life.

    async def run(self) -> None:
        """Supervise until everything was stopped."""
        self._stopped = asyncio.get_running_loop().create_future()
        async with asyncio.TaskGroup() as tasks:
            self._executor.work_in(tasks)
            background = [
                tasks.create_task(work)
                for work in (
                    self._announcer.run(),
                    self._commander.run(),
                    self._keeper.run(),
                    self._intake.read_events(),
                    self._intake.read_requests(),
                    self._watch_hosts(),
                )
            ]
            await self._adopt()
            await self._act()
            report = await self._report()
            await self._announcer.flush(timeout_s=FLUSH_TIMEOUT_S)
            for task in background:
                task.cancel()
        self._stopped.set_result(report)

    async def _adopt(self) -> None:
        # At once: a stop that is asked for meanwhile is to reach them.
        for adopted in self._hosting.adopted():
            self._step(HostSpawned(adopted.host, adopted.pid, adopted.replicas, adopted.key))
        await self._intake.take_position()
        for adopted in self._hosting.adopted():
            self._executor.ask_for_report(adopted)

    async def _act(self) -> None:
        await self._plan()
        self._keeper.note(self._state)
        while not is_stopped(self._state):
            await self._take_inputs()
            is_due = self._is_due()
            if is_due:
                await self._doubt_silence()
                self._step(TimePassed())
            if is_due or concerns_plan(self._planned, self._state):
                await self._plan()
            self._keeper.note(self._state)
            self._tell_change()

    async def _take_inputs(self) -> None:
        """Take in what there is, or wait for it until it is time to look again."""
        timeout_s = None if self._wake_at_s is None else max(0.0, self._wake_at_s - clock.now_s())
        event: Input | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                event = await self._inbox.get()
        if event is not None:
            self._step(event)
        await self._drain()

    async def _drain(self) -> None:
        # What comes meanwhile is for the next time: a plan may be due.
        for number in range(1, self._inbox.qsize() + 1):
            self._step(self._inbox.get_nowait())
            await _let_others_run(number)

    def _is_due(self) -> bool:
        """Tell whether it is time to look again; mostly hosts were seen since, and it is not yet."""
        if self._wake_at_s is not None and clock.now_s() >= self._wake_at_s:
            self._wake_at_s = next_wake_s(self._state)
        return self._wake_at_s is not None and clock.now_s() >= self._wake_at_s

    async def _doubt_silence(self) -> None:
        """Before silence is held against hosts, see whether they could be heard, and hear them."""
        if self._state.observed.bus_connected and not await self._intake.is_bus_there():
            log.warning("bus.silent")
            self._step(BusLost())
        await self._drain()

    def _step(self, event: Input) -> None:
        before = self._state
        if isinstance(event, HostExited):
            self._announce(last_words(before, event))
        # Spreads restarts out; nothing here is a secret.
        jitter = random.random()
        self._state, effects = reduce(before, event, now_s=clock.now_s(), jitter=jitter)
        changed = changes(before, self._state)
        is_over = any(record.state is ReplicaState.FAILED or record.finished for _, _, record in changed)
        self._keeper.note(self._state, at_once=is_over)  # before anybody is told of it
        self._announce(decisions(changed))
        for effect in effects:
            self._executor.carry_out(effect)

    async def _plan(self) -> None:
        planned = plan(self._state, now_s=clock.now_s())
        for number, effect in enumerate(planned.effects, start=1):
            self._state, outcomes = reduce(self._state, Issued(effect), now_s=clock.now_s())
            for due in (effect, *outcomes):
                self._executor.carry_out(due)
            await _let_others_run(number)
        if planned.effects:
            log.debug("plan.issued", extra=planned.log_fields())
        self._planned, self._wake_at_s = self._state, next_wake_s(self._state)

    # Hosts.

    async def _watch_hosts(self) -> None:
        async for event in self._hosting.events():
            if isinstance(event, Delayed):
                await self._inbox.put(HostDelayed(event.host, event.why))
                continue
            because = self._executor.ended(event.host, by_the_stop=self.stop_asked.is_set())
            await self._inbox.put(
                HostExited(
                    event.host,
                    event.pid,
                    exit_code=event.exit_code,
                    signal=event.signal,
                    killed_because=because,
                )
            )

    def _announce(self, events: Iterable[ComponentTransitioned]) -> None:
        for event in events:
            self._announcer.announce(event)

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
            gateway=GatewayStatus(url=identity.gateway_url, listeners=identity.listeners),
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
        """Tell whether nothing changes any more by itself: what is wanted is ready, or cannot be."""
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
        """Publish a request and return its answer; with `wait_s`, once it has its outcome.

        Raises:
            ControlError: the request was refused or failed, or was not answered or done in time.
        """
        request_id = await self._requests.send(request, wait_s=wait_s)
        return {"request_id": request_id, "accepted": True, "component": request.component}

    async def stop(self) -> StopReport:
        """Drain and stop everything; return what was accepted, acknowledged and left, per stream."""
        assert self._stopped is not None, "stop is for a supervisor that runs"
        self.stop_asked.set()
        await self._inbox.put(StopAll())
        if not await self._takes_commands():
            # No command would arrive; told by the anchor, hosts drain by themselves, all at once.
            for host in self._state.observed.hosts:
                await self._executor.end_host(self._hosting.terminate(host))
        return await asyncio.shield(self._stopped)

    async def _takes_commands(self) -> bool:
        """Ask the bus: one that froze a moment ago is not known as such yet."""
        if self._state.observed.bus_connected and not await self._intake.is_bus_there():
            await self._inbox.put(BusLost())
            return False
        return self._state.observed.bus_connected

    async def kill_hosts(self) -> None:
        """Kill every host now; nothing is drained any more."""
        for name, host in tuple(self._state.observed.hosts.items()):
            if not host.foreign:
                await self._executor.kill(name, "everything was to end at once")

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

    async def newest_events(
        self, count: int, *, where: Mapping[str, Collection[str]], since: str | None = None
    ) -> list[tuple[str, dict[str, str]]]:
        """Return the newest entries of the event stream of which each field has one of these values."""
        entries = await self._transport.newest(
            events_stream(self._app), where=where, count=count, after=since or "0-0"
        )
        return [(entry.id, dict(entry.fields)) for entry in entries]

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
            forced=tuple(sorted(self._executor.forced)),
            problem=problem,
        )

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _let_others_run(steps: int) -> None:
    """Let the other tasks of the loop run, now and then: the intake reads on, and the API answers."""
    if steps % STEPS_IN_A_ROW == 0:
        await asyncio.sleep(0)
