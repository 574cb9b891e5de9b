"""Replacing the replicas of a component: all at once, or one by one behind a surge replica.

A rolling replacement starts one replica more than is wanted. When that one is ready an old one is drained
and started anew under its own id, then the next; at the end the surge replica is drained. So a component
with one replica is never without one, and no two processes ever have the same id. Where a new replica
fails for good, the replacement stands still, until an operator asks again: a faulty version takes nothing
down, and what serves goes on.
"""

from __future__ import annotations

from dataclasses import replace

from contracts.status import ReplicaState
from control_plane.core.placement import replica_id, replica_ids
from control_plane.core.questions import (
    is_in_unheard_host,
    is_stale,
    is_unheard,
    key_of,
    missing_dependencies,
    replicas_of_component,
    serving_components,
)
from control_plane.core.state import DesiredComponent, ReplicaRecord, State
from control_plane.core.transitions import LIVE, SERVING


def replaced(state: State, component: str, wanted: DesiredComponent, *, rolling: bool) -> State:
    """Return the state in which every replica is to be replaced; one by one where that protects work."""
    serves = any(_may_serve(state, record) for _, record in replicas_of_component(state, component))
    rolls = rolling and serves and wanted.running and _may_overlap(state, wanted)
    newer = replace(wanted, generation=wanted.generation + 1, rolling=rolls)
    return state.with_component(component, newer)


def _may_overlap(state: State, wanted: DesiredComponent) -> bool:
    """Return whether a new replica can run beside an old one: not at one port, nor twice in one process."""
    spec = wanted.spec
    if spec.command:
        return not (spec.port or spec.exclusive)
    replica = replica_id(spec.name, 1)
    return not spec.exclusive or key_of(state, replica, spec.name) == replica


def advanced(state: State) -> State:
    """Return the state in which replacements that are over, or have nothing left to replace, have ended."""
    for name in state.desired.rolling:
        wanted = state.desired.components[name]
        if _is_done(state, wanted) or _is_void(state, name):
            state = state.with_component(name, replace(wanted, rolling=False))
    return state


def is_blocked(state: State, component: str) -> bool:
    """Return whether a new replica has failed, so that no other old one is replaced.

    A surge replica that ended by itself stands in for nobody either.
    """
    wanted = state.desired.components[component]
    known = state.observed.replicas
    surge = known.get(surge_id(wanted))
    return wanted.rolling and (
        (surge is not None and surge.finished)
        or any(name in known and known[name].state is ReplicaState.FAILED for name in wanted.replica_ids)
    )


def surge_id(wanted: DesiredComponent) -> str:
    """Return the id of the replica that stands in while others are replaced."""
    return replica_id(wanted.spec.name, wanted.replicas + 1)


def _is_done(state: State, wanted: DesiredComponent) -> bool:
    records = (state.observed.replicas.get(name) for name in replica_ids(wanted.spec.name, wanted.replicas))
    surge = state.observed.replicas.get(surge_id(wanted))
    # As for the old ones: a replica that is not well does not stand in for one that is.
    good = {ReplicaState.READY} if surge and surge.state is ReplicaState.READY else SERVING
    return all(
        record is not None and (record.finished or (record.state in good and not is_stale(state, record)))
        for record in records
    )


def _is_void(state: State, component: str) -> bool:
    """Return whether nothing of the component may run, and a dependency keeps anything from starting."""
    if any(is_unheard(host) for host in state.observed.hosts.values()):
        return False
    if any(record.state in LIVE for _, record in replicas_of_component(state, component)):
        return False
    return bool(missing_dependencies(state, component, serving_components(state)))


def _may_serve(state: State, record: ReplicaRecord) -> bool:
    """Return whether the replica serves; one that was taken over and has not spoken yet may."""
    return record.state in SERVING or is_in_unheard_host(state, record)
