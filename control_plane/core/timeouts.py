"""How the state changes because time has passed and something awaited did not happen."""

from __future__ import annotations

from dataclasses import replace

from contracts.status import ReplicaState
from control_plane.core.deadlines import (
    OVERSLEPT_S,
    forgotten_at_s,
    is_due,
    lost_at_s,
    spawn_limit_s,
    start_overdue_s,
    stop_overdue_s,
)
from control_plane.core.inputs import Moment
from control_plane.core.questions import (
    all_replicas,
    host_of,
    is_abandoned,
    is_stop_in_flight,
    replicas_of,
    sole_component,
    spec_of,
)
from control_plane.core.records import Exit, exited, move
from control_plane.core.state import HostPhase, ReplicaRecord, State
from control_plane.core.transitions import LIVE


def time_passed(state: State, at: Moment) -> State:
    """Return the state with everything that is overdue taken as not happening any more."""
    state = _retried(state, at)
    for host_id in state.observed.hosts:
        if is_due(forgotten_at_s(state, host_id), at.now_s):
            state = _forget(state, host_id)
        elif is_due(lost_at_s(state, host_id), at.now_s):
            state = _silent(state, host_id, at)
    for replica, record in tuple(all_replicas(state)):
        if is_due(stop_overdue_s(state, record), at.now_s):
            state = state.with_replica(replica, _given_up(record, at))
        elif is_due(start_overdue_s(state, record), at.now_s):
            state = _not_started(state, replica, record, at)
    return state


def bus_recovered(state: State, at: Moment) -> State:
    """Begin every wait for a host anew: what it said meanwhile could not be heard."""
    state = state.with_bus(connected=True)
    for host_id, host in state.observed.hosts.items():
        if host.phase is HostPhase.SPAWNING:
            deadline_s = at.now_s + spawn_limit_s(state, host.replicas)
            state = state.with_host(host_id, replace(host, deadline_s=deadline_s))
        state = _seen_now(state, host_id, at)
    anew = {replica: _waited_for_anew(record, at) for replica, record in state.observed.replicas.items()}
    return state.with_replicas(
        {
            replica: record
            for replica, record in anew.items()
            if record is not state.observed.replicas[replica]
        }
    )


def _seen_now(state: State, host_id: str, at: Moment) -> State:
    return state.with_vitals(host_id, replace(state.observed.vitals[host_id], last_seen_s=at.now_s))


def _waited_for_anew(record: ReplicaRecord, at: Moment) -> ReplicaRecord:
    if record.state is ReplicaState.STARTING:
        record = replace(record, since_s=at.now_s)
    if record.command and is_stop_in_flight(record) and not is_abandoned(record):
        record = replace(record, command=replace(record.command, issued_at_s=at.now_s))
    return record


def _retried(state: State, at: Moment) -> State:
    """Let what may be started again wait for its host and its dependencies like any other."""
    return state.with_replicas(
        {
            replica: move(record, ReplicaState.PENDING, at, retry_at_s=None)
            for replica, record in state.observed.replicas.items()
            if is_due(record.retry_at_s, at.now_s)
        }
    )


def _silent(state: State, host_id: str, at: Moment) -> State:
    if not is_due(_overslept_at_s(state, host_id), at.now_s):
        return _lose(state, host_id, at)
    # We were not running either: what the host said may be unread still.
    return _seen_now(state, host_id, at)


def _overslept_at_s(state: State, host_id: str) -> float | None:
    lost_at = lost_at_s(state, host_id)
    return lost_at + OVERSLEPT_S if lost_at is not None else None


def _lose(state: State, host_id: str, at: Moment) -> State:
    host = state.observed.hosts[host_id]
    silent_s = at.now_s - state.observed.vitals[host_id].last_seen_s
    reason = f"its host was silent for {silent_s:.1f} s"
    lost = {
        replica: move(record, ReplicaState.LOST, at, reason=reason)
        for replica, record in replicas_of(state, host_id)
        if record.state in LIVE
    }
    return state.with_replicas(lost).with_host(host_id, replace(host, phase=HostPhase.LOST))


def _forget(state: State, host_id: str) -> State:
    for replica, _ in replicas_of(state, host_id):
        state = state.without_replica(replica)
    return state.without_host(host_id)


def _given_up(record: ReplicaRecord, at: Moment) -> ReplicaRecord:
    # The command stays in the record: that is what tells "not waited for" from "seen to be down".
    waited_s = at.now_s - record.command.issued_at_s if record.command else 0.0
    reason = f"it did not stop within {waited_s:.1f} s"
    return move(record, ReplicaState.STOPPED, at, retry_at_s=None, reason=reason)


def _not_started(state: State, replica: str, record: ReplicaRecord, at: Moment) -> State:
    host, spec = host_of(state, record), spec_of(state, record.component)
    assert host is not None, "a start is overdue in a host only"
    assert spec is not None, "a start is overdue for a declared component only"
    if record.host is not None and sole_component(state, host) is not None:
        # The process is the replica's own: it is killed, and its exit counts.
        return state.with_host(record.host, replace(host, deadline_s=at.now_s))
    how = Exit(f"it was not ready within {spec.startup_timeout_s:g} s")
    return state.with_replica(replica, exited(state, replica, record, how, at))
