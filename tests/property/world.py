"""A simulated machine that obeys the core's effects: hosts, an anchor and a bus, with faults on demand.

Nothing here is random: whoever drives the world chooses every step. `SimHost` does what a real host
does, down to heartbeats that were written before a command arrived. After each input the world checks
what must always hold; see `Rules`.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field, replace

from contracts.errors import LaunchError
from contracts.messages import (
    AnyRequest,
    CommandCompleted,
    CommandFailed,
    ComponentTransitioned,
    Event,
    HostHeartbeat,
    HostStopping,
)
from contracts.specs import ComponentSpec, Mode
from contracts.status import ReplicaReport, ReplicaState
from control_plane.core.deadlines import next_wake_s
from control_plane.core.effects import (
    Answer,
    Conclude,
    KillHost,
    PlannedEffect,
    SendStart,
    SendStop,
    SpawnHost,
    StopHost,
)
from control_plane.core.inputs import (
    BusLost,
    BusRecovered,
    HostExited,
    HostSpared,
    HostSpawned,
    Input,
    Issued,
    SpawnFailed,
    StopAll,
    TimePassed,
)
from control_plane.core.memory import Memory, recalled, remembered
from control_plane.core.reconciler import plan
from control_plane.core.reducer import reduce
from control_plane.core.state import Desired, DesiredComponent, State
from control_plane.core.transitions import LIVE
from tests.property.rules import Rules

S = ReplicaState
INTERVAL_S = 2.0
Send = SendStart | SendStop


@dataclass
class SimReplica:
    """A replica as it really is. `stuck`: it never finishes its drain; `broken`: it never starts well."""

    component: str
    state: ReplicaState = S.PENDING
    stuck: bool = False
    broken: bool = False
    command: Send | None = None


@dataclass
class SimHost:
    """A process. What it says goes into `outbox`, in order."""

    id: str
    key: str
    pid: int
    replicas: dict[str, SimReplica]
    outbox: deque[Event]
    made_with: tuple[str, ...] = ()
    foreign: bool = False
    hung: bool = False
    ending: bool = False
    booted: bool = False
    next_beat_s: float = 0.0
    done_commands: set[str] = field(default_factory=set)

    def beat(self) -> None:
        """Say the whole truth."""
        reports = tuple(
            ReplicaReport(component=replica.component, replica=name, state=replica.state)
            for name, replica in self.replicas.items()
        )
        self.outbox.append(
            HostHeartbeat(
                host=self.id, pid=self.pid, interval_s=INTERVAL_S, replicas=reports, autostarted=self.foreign
            )
        )

    def change(self, name: str, to_state: ReplicaState, *, permanent: bool = False) -> None:
        """Move a replica and say so."""
        replica = self.replicas[name]
        if replica.state is to_state:
            return
        from_state, replica.state = replica.state, to_state
        self.outbox.append(
            ComponentTransitioned(
                component=replica.component,
                replica=name,
                host=self.id,
                from_state=from_state,
                to_state=to_state,
                permanent=permanent,
            )
        )

    def obey(self, command: Send) -> None:
        """Begin to carry out a command; the same id twice acts once."""
        if command.command_id in self.done_commands or self.ending:
            return
        self.done_commands.add(command.command_id)
        if command.replica not in self.replicas:
            held = {replica.component for replica in self.replicas.values()}
            if command.component not in held and not getattr(command, "via", ""):
                self._say(CommandFailed, command)
                return
            self.replicas[command.replica] = SimReplica(command.component)
        replica = self.replicas[command.replica]
        if isinstance(command, SendStart):
            self._start(command, replica)
        else:
            self._stop(command, replica)

    def end(self) -> None:
        """Begin to end, as after SIGTERM."""
        if self.ending:
            return
        self.ending = True
        self.outbox.append(HostStopping(host=self.id, pid=self.pid))
        for name, replica in self.replicas.items():
            if replica.state in LIVE:
                self.change(name, S.DRAINING)

    def progress(self, name: str) -> None:
        """Let a replica take its next step by itself."""
        replica = self.replicas[name]
        match replica.state:
            case S.STARTING:
                self.change(name, S.FAILED if replica.broken else S.READY)
                self._complete(replica)
            case S.DRAINING if not replica.stuck:
                self.change(name, S.STOPPING)
            case S.STOPPING:
                self.change(name, S.STOPPED)
                self._complete(replica)
            case _:
                pass

    def _start(self, command: SendStart, replica: SimReplica) -> None:
        if replica.state in LIVE:
            self._say(CommandCompleted, command)
            return
        replica.command = command
        self.change(command.replica, S.STARTING)

    def _stop(self, command: SendStop, replica: SimReplica) -> None:
        if replica.state is S.STARTING:
            self.change(command.replica, S.STOPPED)
        elif replica.state in LIVE:
            replica.command = command
            self.change(command.replica, S.DRAINING)
            return
        elif replica.state is not S.FAILED:
            self.change(command.replica, S.STOPPED)
        self._say(CommandCompleted, command)

    def _complete(self, replica: SimReplica) -> None:
        if replica.command is not None:
            self._say(CommandCompleted, replica.command)
            replica.command = None

    def _say(self, kind: type[CommandCompleted] | type[CommandFailed], command: Send) -> None:
        self.outbox.append(
            kind(
                component=command.component,
                replica=command.replica,
                host=self.id,
                command_id=command.command_id,
                command=type(command).__name__,
            )
        )


class World:
    """The control plane's loop around the core, and the machine that it steers."""

    def __init__(
        self, mode: Mode, components: tuple[ComponentSpec, ...], one_for_all: frozenset[str] = frozenset()
    ) -> None:
        wanted = {spec.name: DesiredComponent(spec, replicas=spec.replicas) for spec in components}
        self._declared = Desired(mode, wanted, one_for_all=one_for_all)
        self.first_state = self.state = State(self._declared)
        self.now_s = 0.0
        self.jitter = 0.5
        self.wake_at_s: float | None = None
        self.hosts: dict[str, SimHost] = {}
        self.events: deque[Event] = deque()
        self.commands: deque[Send] = deque()
        self.anchor_says: deque[Input] = deque()
        self.bus_is_up = True
        self.spawns_fail = False
        self.kills_come_late = False
        self._late_kills: deque[Input] = deque()
        self.trace: list[tuple[Input, float, float]] = []
        self.rules = Rules()
        self._next_pid = 100
        self.answers: list[Answer] = []
        self.outcomes: list[Conclude] = []
        self._requests = 0
        self.tell(TimePassed())

    # The supervisor's loop.

    def tell(self, event: Input) -> None:
        """Reduce one input, then plan, and carry the plan out."""
        self._reduce(event)
        made = plan(self.state, now_s=self.now_s)
        self.rules.check_need(self.state, made, now_s=self.now_s)
        for effect in made.effects:
            self.rules.check_effect(self.state, effect, now_s=self.now_s)
            self._reduce(Issued(effect))
            self._carry_out(effect)
        self.wake_at_s = next_wake_s(self.state)
        self.rules.check_plan(self.state, event, now_s=self.now_s)
        self.rules.check_truth(
            [
                (host.id, name, replica.state)
                for host in self.hosts.values()
                for name, replica in host.replicas.items()
            ]
        )

    def ask(self, request: AnyRequest) -> None:
        """Tell an operator's request."""
        self.rules.forgive(request.component)
        self._requests += 1
        self.tell(request.model_copy(update={"request_id": f"r{self._requests}"}))

    def _reduce(self, event: Input) -> None:
        before = self.state
        self.state, said = reduce(before, event, now_s=self.now_s, jitter=self.jitter)
        self.answers += [effect for effect in said if isinstance(effect, Answer)]
        self.outcomes += [effect for effect in said if isinstance(effect, Conclude)]
        self.trace.append((event, self.now_s, self.jitter))
        self.rules.check_moves(before, self.state, event)

    def _carry_out(self, effect: PlannedEffect) -> None:
        match effect:
            case SpawnHost():
                self._spawn(effect)
            case SendStart() | SendStop():
                if self.bus_is_up:
                    self.commands.append(effect)
            case StopHost(host):
                if host in self.hosts and not self.hosts[host].hung:
                    self.hosts[host].end()
            case KillHost(host):
                if self.kills_come_late:
                    self._late_kills.append(HostSpared(host))
                else:
                    self.crash(host, signal=9)

    def _spawn(self, effect: SpawnHost) -> None:
        if self.spawns_fail:
            self.anchor_says.append(SpawnFailed(effect.host, LaunchError("no memory").as_dict()))
            return
        self._next_pid += 1
        replicas = {name: SimReplica(component) for name, component in effect.replicas}
        self.hosts[effect.host] = SimHost(
            effect.host, effect.key, self._next_pid, replicas, self.events, made_with=tuple(replicas)
        )
        self.anchor_says.append(HostSpawned(effect.host, self._next_pid, effect.replicas))

    # What goes on by itself.

    def advance(self, seconds: float) -> None:
        """Let time pass; what is said meanwhile is heard."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self._beat_all()
            self.deliver_all()
            beats = [host.next_beat_s for host in self.hosts.values() if not host.hung]
            stops = [at_s for at_s in (*beats, self.wake_at_s or end_s, end_s) if at_s > self.now_s]
            self.now_s = min(stops)
            # An anchor that is late with its answer takes time.
            self.anchor_says += self._late_kills
            self._late_kills.clear()
            self._beat_all()
            self.deliver_all()
            if self.wake_at_s is not None and self.now_s >= self.wake_at_s:
                self.tell(TimePassed())

    def deliver_all(self) -> None:
        """Let everything that is under way arrive."""
        while self.anchor_says or self.events or self.commands:
            self.deliver_anchor()
            self.deliver_event()
            self.deliver_command()

    def deliver_anchor(self) -> None:
        """Let the anchor's oldest word arrive; it is never lost."""
        if self.anchor_says:
            self.tell(self.anchor_says.popleft())

    def deliver_event(self, *, twice: bool = False) -> None:
        """Let the oldest event arrive."""
        if self.events:
            event = self.events.popleft()
            for _ in range(1 + twice):
                if self.bus_is_up:
                    self.tell(event)

    def deliver_command(self, *, twice: bool = False) -> None:
        """Let the oldest command arrive; a hung or dead host does not read it."""
        if self.commands:
            command = self.commands.popleft()
            host = self.hosts.get(command.host)
            for _ in range(1 + twice):
                if host is not None and not host.hung:
                    host.obey(command)

    def progress_all(self) -> None:
        """Let every replica take a step, and every host that is done end."""
        for host in tuple(self.hosts.values()):
            for name in () if host.hung else tuple(host.replicas):
                host.progress(name)
            if host.ending and not host.hung and not any(r.state in LIVE for r in host.replicas.values()):
                self.crash(host.id, exit_code=0)

    def _beat_all(self) -> None:
        for host in self.hosts.values():
            if not host.hung and host.next_beat_s <= self.now_s:
                host.next_beat_s = self.now_s + INTERVAL_S
                host.beat()

    # Faults.

    def crash(self, host_id: str, *, exit_code: int | None = None, signal: int | None = None) -> None:
        """End a process; what it said before is still under way."""
        host = self.hosts.pop(host_id, None)
        if host is not None and not host.foreign:
            self.anchor_says.append(HostExited(host_id, host.pid, exit_code, signal))

    def lose_bus(self) -> None:
        """Let the bus go away with everything on it."""
        if self.bus_is_up:
            self.bus_is_up = False
            self.events.clear()
            self.commands.clear()
            self.tell(BusLost())

    def recover_bus(self) -> None:
        """Let the bus come back, empty."""
        if not self.bus_is_up:
            self.bus_is_up = True
            self.events.clear()
            self.tell(BusRecovered())

    def take_over(self) -> None:
        """Kill the control plane and start another, which asks the anchor what there is and what was."""
        self.deliver_all()
        memory = Memory.from_json(json.loads(json.dumps(remembered(self.state).as_json())))
        desired = replace(self._declared, stopping=self.state.desired.stopping)
        self.recover_bus()
        self.events.clear()
        self._late_kills.clear()
        self.rules = Rules()
        self.first_state = self.state = recalled(State(desired, epoch=self.state.epoch + 1), memory)
        self.trace = []
        for host in self.hosts.values():
            if not host.foreign:
                # The anchor knows what the host was made with, not what it took in later.
                replicas = tuple((name, host.replicas[name].component) for name in host.made_with)
                self._reduce(HostSpawned(host.id, host.pid, replicas, host.key))
        self.tell(TimePassed())

    def add_foreign(self, component: str) -> None:
        """Let somebody else start a host."""
        self._next_pid += 1
        name = f"{component}-x{self._next_pid}"
        host = SimHost(
            name, name, self._next_pid, {name: SimReplica(component, S.STARTING)}, self.events, foreign=True
        )
        self.hosts[name] = host

    def heal(self) -> None:
        """End every fault."""
        self.spawns_fail = self.kills_come_late = False
        self.recover_bus()
        for host in self.hosts.values():
            host.hung = False
            for name, replica in host.replicas.items():
                replica.stuck = replica.broken = False
                if replica.state is S.DEGRADED:
                    host.change(name, S.READY)

    def settle(self, seconds: float = 100.0) -> None:
        """Let everything take its course without faults."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.progress_all()
            self.advance(1.0)

    def stop_all(self) -> None:
        """Want everything down."""
        self.tell(StopAll())
