"""What the state remembers of an effect that is being carried out, so that it is not planned again."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from contracts.status import ReplicaState
from control_plane.core.deadlines import EXIT_TIMEOUT_S, spawn_limit_s
from control_plane.core.effects import KillHost, PlannedEffect, SendStart, SendStop, SpawnHost, StopHost
from control_plane.core.inputs import Moment
from control_plane.core.questions import is_needed, sole_component
from control_plane.core.records import move
from control_plane.core.sightings import with_health
from control_plane.core.state import Command, CommandKind, HostPhase, HostRecord, ReplicaRecord, State, Vitals


def issued(state: State, effect: PlannedEffect, at: Moment) -> State:
    """Return the state after the effect was issued."""
    match effect:
        case SpawnHost():
            return _spawn(state, effect, at)
        case SendStart():
            return _start(state, effect, at)
        case SendStop():
            return _stop(state, effect, at)
        case StopHost():
            return _end(state, effect.host, at, dismissed=True)
        case KillHost():
            return _end(state, effect.host, at, dismissed=False)
        case _:
            assert_never(effect)


def _spawn(state: State, effect: SpawnHost, at: Moment) -> State:
    state = state.with_replicas(
        {
            replica: _given(state, effect.host, replica, component, at)
            for replica, component in effect.replicas
        }
    )
    replicas = tuple(replica for replica, _ in effect.replicas)
    host = HostRecord(
        effect.key,
        replicas,
        components=frozenset(component for _, component in effect.replicas),
        spawned_at_s=at.now_s,
        deadline_s=at.now_s + spawn_limit_s(state, replicas),
    )
    owner = sole_component(state, host)
    host = replace(host, generation=owner.generation if owner else 0)
    state = state.with_host(effect.host, host).with_vitals(effect.host, Vitals(at.now_s))
    return replace(state, next_host=state.next_host + 1)


def _given(state: State, host: str, replica: str, component: str, at: Moment) -> ReplicaRecord:
    record = state.observed.replicas.get(replica) or ReplicaRecord(component, since_s=at.now_s)
    if is_needed(state, replica, record) and (record.retry_at_s or 0.0) <= at.now_s:
        record = move(record, ReplicaState.PENDING, at, retry_at_s=None)
    return replace(record, host=host, again=False)


def _start(state: State, effect: SendStart, at: Moment) -> State:
    record = state.observed.replicas.get(effect.replica) or ReplicaRecord(effect.component)
    if _is_resent(record, effect.command_id):
        return _resent(state, effect.replica, record, at)
    host = state.observed.hosts[effect.host]
    generation = state.desired.components[effect.component].generation
    # A host in which new replicas start beside the old ones is as new as they are.
    host = replace(
        host,
        replicas=tuple(dict.fromkeys((*host.replicas, effect.replica))),
        generation=max(host.generation, generation),
    )
    state = state.with_host(effect.host, host)
    started = move(
        record,
        ReplicaState.STARTING,
        at,
        host=effect.host,
        generation=generation,
        since_s=at.now_s,
        started_at_s=at.now_s,
        retry_at_s=None,
        command=Command(effect.command_id, CommandKind.START, at.now_s, at.now_s),
        reason=None,
        error=None,
    )
    state = with_health(state, effect.host, effect.replica, None)
    return _counted(state.with_replica(effect.replica, started))


def _stop(state: State, effect: SendStop, at: Moment) -> State:
    record = state.observed.replicas[effect.replica]
    if _is_resent(record, effect.command_id):
        return _resent(state, effect.replica, record, at)
    command = Command(
        effect.command_id, CommandKind.STOP, at.now_s, at.now_s, grace_period_s=effect.grace_period_s
    )
    return _counted(state.with_replica(effect.replica, replace(record, command=command)))


def _end(state: State, host_id: str, at: Moment, *, dismissed: bool) -> State:
    host = state.observed.hosts[host_id]
    ending = replace(
        host,
        phase=HostPhase.STOPPING,
        deadline_s=at.now_s + EXIT_TIMEOUT_S,
        dismissed=host.dismissed or dismissed,
        killed_in=None if dismissed else host.killed_in or host.phase,
    )
    return state.with_host(host_id, ending)


def _is_resent(record: ReplicaRecord, command_id: str) -> bool:
    return record.command is not None and record.command.id == command_id


def _resent(state: State, replica: str, record: ReplicaRecord, at: Moment) -> State:
    assert record.command is not None
    return state.with_replica(replica, replace(record, command=replace(record.command, sent_at_s=at.now_s)))


def _counted(state: State) -> State:
    return replace(state, next_command=state.next_command + 1)
