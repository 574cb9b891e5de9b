"""What is wanted and what was last observed: the whole memory of the control plane.

Immutable: a change is a new value that shares what it did not change. Mappings are never written to
in place. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final

from contracts.specs import ComponentSpec, Mode, Settings
from contracts.status import Health, LogLoss, ReplicaState
from control_plane.core.placement import replica_ids

EXITED_HOSTS_KEPT: Final = 256
REQUESTS_KEPT: Final = 256


@dataclass(frozen=True)
class DesiredComponent:
    """What is wanted of one component.

    `generation` grows with every replacement of its replicas that is wanted; what runs of an older one is
    stale. `rolling`: they are replaced one after the other, while a surge replica stands in.
    `place` is where an operator moved it: a group, or `isolated`; empty where the mode decides.
    """

    spec: ComponentSpec
    running: bool = True
    replicas: int = 1
    generation: int = 1
    rolling: bool = False
    place: str = ""

    # Asked for every component after an event, and the same until something else is wanted.
    @cached_property
    def replica_ids(self) -> tuple[str, ...]:
        """The ids of the replicas that it is to have while it runs, a surge one included."""
        return replica_ids(self.spec.name, self.replicas + self.rolling)


@dataclass(frozen=True)
class Desired:
    """What is wanted of the application.

    `stopping` wants everything down, for good. `one_for_all` names the groups that fail as one.
    """

    mode: Mode
    components: Mapping[str, DesiredComponent]
    stopping: bool = False
    one_for_all: frozenset[str] = frozenset()

    # Asked after every event, and the same until something else is wanted.

    @cached_property
    def rolling(self) -> tuple[str, ...]:
        """The components whose replicas are being replaced one by one."""
        return tuple(name for name, wanted in self.components.items() if wanted.rolling)

    @cached_property
    def depends_on(self) -> Mapping[str, tuple[str, ...]]:
        """The dependency graph."""
        return {name: wanted.spec.depends_on for name, wanted in self.components.items()}

    @cached_property
    def drags_along(self) -> bool:
        """Whether a failure can concern more than its own replica."""
        specs = (wanted.spec for wanted in self.components.values())
        return bool(self.one_for_all) or any(spec.on_dependency_failure == "restart" for spec in specs)


class CommandKind(StrEnum):
    """What a replica was told."""

    START = "start"
    STOP = "stop"


@dataclass(frozen=True)
class Command:
    """A command in flight. `sent_at_s` is the latest sending; the id stays the same when it is resent.

    `acknowledged`: the host was seen carrying it out. `grace_period_s` counts for a stop.
    """

    id: str
    kind: CommandKind
    issued_at_s: float
    sent_at_s: float
    acknowledged: bool = False
    grace_period_s: float = 0.0


@dataclass(frozen=True)
class ReplicaRecord:
    """What is known of one replica.

    `stopped` with a stop command still in flight means that nobody waits for it any longer.
    `finished`: it ended by itself, and its restart policy leaves it at that.
    `again`: it is pending because it is to be started once more. That its host calls it ended is known.
    `last_health`: what it last answered in a host that is gone.
    """

    component: str
    state: ReplicaState = ReplicaState.PENDING
    host: str | None = None
    generation: int = 0
    since_s: float = 0.0
    started_at_s: float | None = None
    exits: tuple[float, ...] = ()
    restarts: int = 0
    retry_at_s: float | None = None
    finished: bool = False
    again: bool = False
    command: Command | None = None
    reason: str | None = None
    error: Mapping[str, Any] | None = None
    last_health: Health | None = None


class HostPhase(StrEnum):
    """The life of a host, as the control plane sees it."""

    SPAWNING = "spawning"
    UP = "up"
    LOST = "lost"
    STOPPING = "stopping"


@dataclass(frozen=True)
class HostRecord:
    """What is known of one host.

    `replicas` are the ids it was given; `components` are those whose commands it follows. `generation` is
    that of its component at the spawn, for a host of one component. `deadline_s`: when it is killed unless
    it has left its phase by then.
    `foreign`: somebody else placed it; it is neither spawned nor killed from here.
    `dismissed`: it was told to end because nothing in it was needed; its exit is no crash.
    `adopted`: it ran before this control plane.
    `killed_in`: the phase in which the first order to kill it was given.
    `awaits`: what its making waits for, if that takes long.
    """

    key: str
    replicas: tuple[str, ...]
    components: frozenset[str] = frozenset()
    phase: HostPhase = HostPhase.SPAWNING
    foreign: bool = False
    dismissed: bool = False
    adopted: bool = False
    generation: int = 0
    pid: int | None = None
    node: str = "local"
    endpoint: str = ""
    public_url: str = ""
    spawned_at_s: float = 0.0
    interval_s: float = 0.0
    deadline_s: float | None = None
    killed_in: HostPhase | None = None
    awaits: str = ""


@dataclass(frozen=True)
class Vitals:
    """How a host and its replicas do, as it said last; `health` is by replica.

    New with every heartbeat, while the records of a host and its replicas stay the same objects until
    something happens to them: so what acts on them can see at a glance that there is nothing to do.
    """

    last_seen_s: float = 0.0
    rss_bytes: int = 0
    cpu_percent: float = 0.0
    log_loss: LogLoss | None = None
    health: Mapping[str, Health] = field(default_factory=dict)


@dataclass(frozen=True)
class Observed:
    """What was last reported. While the bus is away, silence says nothing about a host.

    `vitals` has every host of `hosts`; `routes` are what each component said that it answers.
    """

    hosts: Mapping[str, HostRecord] = field(default_factory=dict)
    vitals: Mapping[str, Vitals] = field(default_factory=dict)
    replicas: Mapping[str, ReplicaRecord] = field(default_factory=dict)
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exited_hosts: tuple[str, ...] = ()
    bus_connected: bool = True


@dataclass(frozen=True)
class OpenRequest:
    """A request that was accepted and has no outcome yet. `deadline_s`: when it fails for being late."""

    id: str
    kind: str
    component: str
    deadline_s: float


@dataclass(frozen=True)
class State:
    """Everything. The epoch is part of every id, so that no id comes back after a takeover.

    `known_requests` are the ids of the latest requests: the same one twice acts once.
    """

    desired: Desired
    observed: Observed = Observed()
    epoch: int = 1
    next_host: int = 1
    next_command: int = 1
    open_requests: tuple[OpenRequest, ...] = ()
    known_requests: tuple[str, ...] = ()

    def with_host(self, host_id: str, record: HostRecord) -> State:
        """Return the state with this host's record."""
        return self._observe(hosts={**self.observed.hosts, host_id: record})

    def with_vitals(self, host_id: str, vitals: Vitals) -> State:
        """Return the state with these vitals of the host."""
        return self._observe(vitals={**self.observed.vitals, host_id: vitals})

    def without_host(self, host_id: str) -> State:
        """Return the state without what is known of the host."""
        hosts, vitals = dict(self.observed.hosts), dict(self.observed.vitals)
        hosts.pop(host_id, None)
        vitals.pop(host_id, None)
        return self._observe(hosts=hosts, vitals=vitals)

    def with_exited(self, host_id: str) -> State:
        """Return the state that remembers that this host is gone: what still arrives from it is late."""
        return self._observe(exited_hosts=(*self.observed.exited_hosts, host_id)[-EXITED_HOSTS_KEPT:])

    def with_replica(self, replica_id: str, record: ReplicaRecord) -> State:
        """Return the state with this replica's record."""
        return self.with_replicas({replica_id: record})

    def with_replicas(self, changed: Mapping[str, ReplicaRecord]) -> State:
        """Return the state with these records; the same one where there are none."""
        return self._observe(replicas={**self.observed.replicas, **changed}) if changed else self

    def without_replica(self, replica_id: str) -> State:
        """Return the state without the replica's record."""
        return self._observe(
            replicas={k: record for k, record in self.observed.replicas.items() if k != replica_id}
        )

    def with_routes(self, component: str, routes: tuple[str, ...]) -> State:
        """Return the state with what this component says that it answers."""
        return self._observe(routes={**self.observed.routes, component: routes})

    def with_component(self, name: str, wanted: DesiredComponent) -> State:
        """Return the state with this wanted of the component."""
        components = {**self.desired.components, name: wanted}
        return replace(self, desired=replace(self.desired, components=components))

    def with_bus(self, *, connected: bool) -> State:
        """Return the state with the bus there or away."""
        return self._observe(bus_connected=connected)

    def _observe(self, **changes: Any) -> State:
        return replace(self, observed=replace(self.observed, **changes))


def initial_state(settings: Settings, mode: Mode, *, epoch: int = 1) -> State:
    """Return the state of a launch: everything wanted, nothing observed."""
    components = {
        name: DesiredComponent(spec, replicas=spec.replicas) for name, spec in settings.components.items()
    }
    one_for_all = frozenset(
        name for name, group in settings.groups.items() if group.strategy == "one-for-all"
    )
    return State(Desired(mode, components, one_for_all=one_for_all), epoch=epoch)
