"""Questions about a state that more than one module asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from contracts.specs import ComponentSpec
from contracts.status import ReplicaState
from control_plane.core.placement import LOCAL_KEY, host_key, replica_ids
from control_plane.core.state import (
    CommandKind,
    DesiredComponent,
    HostPhase,
    HostRecord,
    ReplicaRecord,
    State,
)
from control_plane.core.transitions import LIVE, SERVING

# What is wanted.


def is_down_wanted(state: State, component: str) -> bool:
    """Return whether nothing of the component is wanted; so it is for one that nobody declared."""
    wanted = state.desired.components.get(component)
    return state.desired.stopping or wanted is None or not wanted.running


def is_wanted(state: State, replica: str, record: ReplicaRecord) -> bool:
    """Return whether this replica is to run.

    How many foreign ones run is for who placed them to say; one that ended by itself is not missed.
    """
    if is_down_wanted(state, record.component):
        return False
    if replica in state.desired.components[record.component].replica_ids:
        return True
    host = host_of(state, record)
    if host is None or not host.foreign:
        return False
    return record.state is not ReplicaState.STOPPED or (host.phase is HostPhase.UP and not record.finished)


def is_needed(state: State, replica: str, record: ReplicaRecord) -> bool:
    """Return whether the replica is to run and has neither failed nor finished."""
    given_up = record.state is ReplicaState.FAILED or record.finished
    return not given_up and is_wanted(state, replica, record)


def is_stale(state: State, record: ReplicaRecord) -> bool:
    """Return whether the replica runs, and a restart was asked for since it was started."""
    wanted = state.desired.components.get(record.component)
    return record.state in LIVE and wanted is not None and record.generation < wanted.generation


def placed(state: State) -> Mapping[str, list[tuple[str, str]]]:
    """Return every (replica, component) that belongs in a host, by the host's key.

    One replica at least of every component, running or not: so a live host can take any replica of
    its key, now and later.
    """
    by_key: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, wanted in state.desired.components.items():
        for replica in wanted.replica_ids or replica_ids(name, 1):
            by_key[key_of(state, replica, name)].append((replica, name))
    return by_key


def key_of(state: State, replica: str, component: str) -> str:
    """Return the key of the host that the replica belongs in."""
    wanted = state.desired.components[component]
    return host_key(state.desired.mode, wanted.spec, replica, place=wanted.place)


# What is observed.


def all_replicas(state: State, among: Collection[str] | None = None) -> Iterator[tuple[str, ReplicaRecord]]:
    """Iterate over every replica that is placed or known, of these components or of all."""
    known = state.observed.replicas
    for name in state.desired.components if among is None else among:
        for replica in state.desired.components[name].replica_ids:
            yield replica, known.get(replica) or ReplicaRecord(name)
    for replica, record in known.items():
        if among is not None and record.component not in among:
            continue
        wanted_now = state.desired.components.get(record.component)
        if wanted_now is None or replica not in wanted_now.replica_ids:
            yield replica, record


def replicas_of(state: State, host_id: str) -> tuple[tuple[str, ReplicaRecord], ...]:
    """Return the replicas that are in this host."""
    known = state.observed.replicas
    given = state.observed.hosts[host_id].replicas
    here = ((replica, known.get(replica)) for replica in given)
    return tuple((replica, record) for replica, record in here if record and record.host == host_id)


def replicas_of_component(state: State, component: str) -> tuple[tuple[str, ReplicaRecord], ...]:
    """Return the known replicas of a component."""
    known = state.observed.replicas.items()
    return tuple((replica, record) for replica, record in known if record.component == component)


def host_of(state: State, record: ReplicaRecord) -> HostRecord | None:
    """Return the host that the replica is in."""
    return state.observed.hosts.get(record.host) if record.host else None


def is_foreign(state: State, record: ReplicaRecord) -> bool:
    """Return whether somebody else placed the replica."""
    host = host_of(state, record)
    return host is not None and host.foreign


def is_abandoned(record: ReplicaRecord) -> bool:
    """Return whether the replica did not stop in time, so that nobody waits for it any longer."""
    return record.state is ReplicaState.STOPPED and record.command is not None


def is_given_up(record: ReplicaRecord) -> bool:
    """Return whether the replica ended, and its restart policy has decided what follows."""
    return record.state in (ReplicaState.BACKOFF, ReplicaState.FAILED) or record.finished


def is_stop_in_flight(record: ReplicaRecord) -> bool:
    """Return whether the replica was told to stop."""
    return record.command is not None and record.command.kind is CommandKind.STOP


def live_components(state: State) -> frozenset[str]:
    """Return the components that have a live replica."""
    return frozenset(record.component for record in state.observed.replicas.values() if record.state in LIVE)


def serving_components(state: State) -> frozenset[str]:
    """Return the components that have a replica which answers."""
    return frozenset(
        record.component for record in state.observed.replicas.values() if record.state in SERVING
    )


def missing_dependencies(state: State, component: str, serving: frozenset[str]) -> frozenset[str]:
    """Return the dependencies that must serve before the component starts.

    What is not launched, stopped by an operator or scaled to nothing is not waited for.
    """
    wanted = state.desired.components
    return frozenset(
        name
        for name in wanted[component].spec.depends_on
        if name not in serving and not is_down_wanted(state, name) and wanted[name].replicas
    )


def broken_dependencies(state: State, component: str, serving: frozenset[str]) -> frozenset[str]:
    """Return the dependencies without which the component, which runs, is to stop and wait.

    One that was taken over and has not reported yet is not known to be down.
    """
    if state.desired.components[component].spec.on_dependency_failure != "wait":
        return frozenset()
    missing = missing_dependencies(state, component, serving)
    return frozenset(name for name in missing if not _is_unknown(state, name))


def _is_unknown(state: State, component: str) -> bool:
    return any(is_in_unheard_host(state, record) for _, record in replicas_of_component(state, component))


def is_unheard(host: HostRecord) -> bool:
    """Return whether the host was taken over and has not said yet what runs in it."""
    return host.adopted and host.phase is HostPhase.SPAWNING


def is_in_unheard_host(state: State, record: ReplicaRecord) -> bool:
    """Return whether the replica may run although its record does not say so."""
    host = host_of(state, record)
    return host is not None and is_unheard(host)


def sole_component(state: State, host: HostRecord) -> DesiredComponent | None:
    """Return the component that has the host to itself, so that a restart may replace the process."""
    names = {state.observed.replicas[replica].component for replica in host.replicas}
    if host.key == LOCAL_KEY or host.foreign or len(names) != 1:
        return None
    return state.desired.components.get(names.pop())


def is_stale_host(state: State, host: HostRecord) -> bool:
    """Return whether a restart was asked for since the host, which is one component's own, was spawned.

    Where its replicas are replaced one by one and share the host, the new ones start beside the old.
    """
    owner = sole_component(state, host)
    if owner is None or host.generation >= owner.generation:
        return False
    return not owner.rolling or host.key in host.replicas


def spec_of(state: State, component: str) -> ComponentSpec | None:
    """Return the component's spec; None for one of a foreign host that nobody declared."""
    wanted = state.desired.components.get(component)
    return wanted.spec if wanted else None


def specs_of(state: State, replicas: Iterable[str]) -> tuple[ComponentSpec, ...]:
    """Return the specs of these replicas' components, where they are known."""
    records = (state.observed.replicas.get(replica) for replica in replicas)
    specs = (spec_of(state, record.component) for record in records if record)
    return tuple(spec for spec in specs if spec)
