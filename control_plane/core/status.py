"""What a state looks like from outside: component statuses, and whether the application is ready.

A component's state is the best single word for its replicas: `ready` when all are, `degraded` when it
serves but not with all of them, else the most hopeful state among them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from contracts.status import ComponentStatus, LogLoss, ReplicaState, ReplicaStatus
from control_plane.core.questions import (
    all_replicas,
    host_of,
    is_abandoned,
    is_down_wanted,
    is_foreign,
    is_needed,
    is_stale,
    is_wanted,
    live_components,
    missing_dependencies,
    replicas_of_component,
    serving_components,
)
from control_plane.core.shadowing import shadowed
from control_plane.core.state import ReplicaRecord, State, Vitals
from control_plane.core.transitions import DOWN, LIVE, SERVING

_HOPEFUL_FIRST: Final = (
    ReplicaState.STARTING,
    ReplicaState.PENDING,
    ReplicaState.BACKOFF,
    ReplicaState.LOST,
    ReplicaState.DRAINING,
    ReplicaState.STOPPING,
    ReplicaState.FAILED,
    ReplicaState.STOPPED,
)


def component_statuses(state: State, *, now_s: float) -> tuple[ComponentStatus, ...]:
    """Return every declared component with its replicas, in the order of the configuration."""
    replicas: dict[str, list[ReplicaStatus]] = {name: [] for name in state.desired.components}
    serving = serving_components(state)
    for replica, record in all_replicas(state):
        wanted = state.desired.components.get(record.component)
        if wanted and (replica in wanted.replica_ids or record.state in LIVE):
            replicas[record.component].append(_replica_status(state, replica, record, serving, now_s=now_s))
    return tuple(_component_status(state, name, found) for name, found in replicas.items())


def component_state(replicas: Iterable[ReplicaState]) -> ReplicaState:
    """Return the best single word for these replicas; `stopped` where there are none."""
    states = set(replicas)
    if states == {ReplicaState.READY}:
        return ReplicaState.READY
    if states & SERVING:
        return ReplicaState.DEGRADED
    return next((state for state in _HOPEFUL_FIRST if state in states), ReplicaState.STOPPED)


# The application as a whole.


def is_ready(state: State) -> bool:
    """Return whether every wanted replica is ready, or has finished what it was there for.

    While replicas are replaced one by one, as many as are wanted have to be.
    """
    if state.desired.stopping:
        return False
    unready = [record for _, record in _wanted(state) if not _is_as_wanted(record)]
    return all(_has_enough(state, record.component) for record in unready)


def _is_as_wanted(record: ReplicaRecord) -> bool:
    return record.state is ReplicaState.READY or record.finished


def _has_enough(state: State, component: str) -> bool:
    wanted = state.desired.components[component]
    if not wanted.rolling:
        return False
    good = sum(_is_as_wanted(record) for _, record in replicas_of_component(state, component))
    return good >= wanted.replicas


def is_settled(state: State) -> bool:
    """Return whether waiting longer changes nothing.

    What is wanted is ready, failed, finished, or waits for what failed; nothing is ready that was to be
    replaced at once; what is not wanted is down. Being replaced one by one disturbs nobody.
    """
    return not _unsettled(state, all_replicas(state))


def settled_components(state: State, among: Collection[str]) -> frozenset[str]:
    """Return those, among these components, of which waiting longer changes nothing."""
    return frozenset(among) - _unsettled(state, all_replicas(state, among))


def _unsettled(state: State, replicas: Iterable[tuple[str, ReplicaRecord]]) -> set[str]:
    unsettled: set[str] = set()
    waiting: set[str] = set()
    for replica, record in replicas:
        if not is_wanted(state, replica, record):
            if record.state in LIVE:
                unsettled.add(record.component)
        elif not _is_final(state, record):
            (waiting if record.state in DOWN else unsettled).add(record.component)
    # Asked last and once: it takes a look at every component.
    hopeless = _hopeless_components(state) if waiting - unsettled else frozenset()
    serving = serving_components(state) if hopeless else frozenset()
    return unsettled | {name for name in waiting if not missing_dependencies(state, name, serving) & hopeless}


def _is_final(state: State, record: ReplicaRecord) -> bool:
    if _has_enough(state, record.component):
        return True  # being replaced one by one, or standing still in it
    if record.state is ReplicaState.READY:
        return is_foreign(state, record) or not is_stale(state, record)
    return record.state is ReplicaState.FAILED or record.finished


def is_stopped(state: State) -> bool:
    """Return whether everything that was told to go down is down."""
    if not state.desired.stopping or any(not host.foreign for host in state.observed.hosts.values()):
        return False
    declared = state.desired.components
    live = (record for record in state.observed.replicas.values() if record.state in LIVE)
    return not any(record.component in declared for record in live)


def _wanted(state: State) -> list[tuple[str, ReplicaRecord]]:
    return [(replica, record) for replica, record in all_replicas(state) if is_wanted(state, replica, record)]


def _hopeless_components(state: State) -> frozenset[str]:
    """Return the components of which no replica will come to serve: failed, finished, or behind such."""
    hopeful = {record.component for replica, record in _wanted(state) if is_needed(state, replica, record)}
    hopeless = set(state.desired.components) - hopeful
    serving = serving_components(state)
    waiting = {name: missing_dependencies(state, name, serving) for name in hopeful - live_components(state)}
    while behind := {name for name, missing in waiting.items() if missing & hopeless} - hopeless:
        hopeless |= behind
    return frozenset(hopeless)


def warnings(state: State) -> tuple[str, ...]:
    """Return what hosts could not do and nobody else tells of, and what no request will reach."""
    losses = (
        log_loss_text(f"host {name}", vitals.log_loss)
        for name, vitals in state.observed.vitals.items()
        if vitals.log_loss is not None
    )
    return (*losses, *shadowed(state))


def log_loss_text(who: str, loss: LogLoss) -> str:
    """Say how many log lines somebody has lost, and why."""
    return f"{who} lost {loss.lines} log line{'s' if loss.lines > 1 else ''}: {loss.reason}"


# Projections.


def _component_status(state: State, name: str, replicas: list[ReplicaStatus]) -> ComponentStatus:
    wanted = state.desired.components[name]
    return ComponentStatus(
        name=name,
        desired="stopped" if is_down_wanted(state, name) else "running",
        state=_component_state(state, name, replicas),
        prefix=wanted.spec.address,
        aliases=wanted.spec.aliases,
        depends_on=wanted.spec.depends_on,
        replicas=tuple(replicas),
    )


def _component_state(state: State, name: str, replicas: list[ReplicaStatus]) -> ReplicaState:
    return (
        ReplicaState.READY
        if _has_enough(state, name)
        else component_state(replica.state for replica in replicas)
    )


def _replica_status(
    state: State, replica: str, record: ReplicaRecord, serving: frozenset[str], *, now_s: float
) -> ReplicaStatus:
    host = host_of(state, record)
    vitals = state.observed.vitals[record.host] if host and record.host else Vitals()
    shown = _shown_state(state, replica, record)
    return ReplicaStatus(
        id=replica,
        state=shown,
        host=record.host if host else None,
        node=host.node if host else None,
        pid=host.pid if host else None,
        endpoint=(host.endpoint or None) if host else None,
        restarts=record.restarts,
        uptime_s=_uptime_s(record, now_s),
        rss_bytes=vitals.rss_bytes,
        cpu_percent=vitals.cpu_percent,
        health=vitals.health.get(replica) if host else record.last_health,
        reason=_reason(state, record, shown, serving),
        retry_in_s=max(0.0, record.retry_at_s - now_s) if record.retry_at_s is not None else None,
    )


def _shown_state(state: State, replica: str, record: ReplicaRecord) -> ReplicaState:
    match record.state:
        case ReplicaState.PENDING if not is_wanted(state, replica, record):
            return ReplicaState.STOPPED  # never needed
        case ReplicaState.STOPPED if is_needed(state, replica, record) and not is_abandoned(record):
            return ReplicaState.PENDING  # stopped to be started again
        case _:
            return record.state


def _uptime_s(record: ReplicaRecord, now_s: float) -> float:
    return max(0.0, now_s - record.started_at_s) if record.started_at_s is not None else 0.0


def _reason(state: State, record: ReplicaRecord, shown: ReplicaState, serving: frozenset[str]) -> str | None:
    host = host_of(state, record)
    if shown is ReplicaState.PENDING and host is not None and host.awaits:
        return host.awaits
    return record.reason or (_awaited(state, record, serving) if shown is ReplicaState.PENDING else None)


def _awaited(state: State, record: ReplicaRecord, serving: frozenset[str]) -> str | None:
    missing = missing_dependencies(state, record.component, serving)
    if missing and not is_down_wanted(state, record.component):
        return f"waits for {', '.join(sorted(missing))}"
    return None if host_of(state, record) else "waits for its host"
