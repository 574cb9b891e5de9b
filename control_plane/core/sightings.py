"""What a host says of a replica, held against what the replica was told last.

Transitions are told once, heartbeats again and again; both come here as sightings. A heartbeat may
have been written before the host saw a command: where it says that a replica is down, it counts only
once the command was acknowledged or is old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, assert_never

from contracts.messages import ComponentTransitioned
from contracts.status import Health, ReplicaReport, ReplicaState
from control_plane.core.deadlines import RESEND_S
from control_plane.core.inputs import Moment
from control_plane.core.questions import host_of, is_abandoned, is_given_up
from control_plane.core.records import Exit, changed, exited, move, stopped
from control_plane.core.state import Command, CommandKind, HostPhase, ReplicaRecord, State
from control_plane.core.transitions import LIVE, SERVING

_ENDING: Final = frozenset({ReplicaState.DRAINING, ReplicaState.STOPPING})


@dataclass(frozen=True)
class Sighting:
    """One replica as its host sees it. `at_once`: told when it happened, not with a heartbeat."""

    replica: str
    component: str
    state: ReplicaState
    at_once: bool = False
    permanent: bool = False
    uptime_s: float = 0.0
    reason: str | None = None
    error: Mapping[str, Any] | None = None

    @property
    def live(self) -> bool:
        """Return whether the replica runs."""
        return self.state in LIVE


def from_report(report: ReplicaReport) -> Sighting:
    """Return what a heartbeat says of one replica."""
    return Sighting(
        report.replica,
        report.component,
        report.state,
        uptime_s=report.uptime_s,
        reason=report.reason,
        error=report.error,
    )


def from_transition(event: ComponentTransitioned) -> Sighting:
    """Return what a transition says."""
    return Sighting(
        event.replica,
        event.component,
        event.to_state,
        at_once=True,
        permanent=event.permanent,
        reason=event.reason,
        error=event.error,
    )


def observe(state: State, host_id: str, sightings: Iterable[Sighting], at: Moment) -> State:
    """Return the state with the sightings of different replicas taken in.

    A replica that is in another host is left alone, and so is one of which nothing new was said: its
    record, and where that is all of them the state, is the same object then.
    """
    known = state.observed.replicas
    updated = {seen.replica: _observed(state, host_id, seen, at) for seen in sightings}
    return state.with_replicas(
        {name: record for name, record in updated.items() if record and record is not known.get(name)}
    )


def with_health(state: State, host_id: str, replica: str, health: Health | None) -> State:
    """Return the state with this answer to the health check of a replica, which is in this host."""
    vitals = state.observed.vitals[host_id]
    others = {name: answer for name, answer in vitals.health.items() if name != replica}
    answers = {**others, replica: health} if health else others
    return state.with_vitals(host_id, replace(vitals, health=answers))


def _observed(state: State, host_id: str, seen: Sighting, at: Moment) -> ReplicaRecord | None:
    """Return the record with the sighting taken in; none where the replica is in another host."""
    record = state.observed.replicas.get(seen.replica) or ReplicaRecord(seen.component)
    if record.host != host_id and record.host in state.observed.hosts:
        return None
    wanted = state.desired.components.get(record.component)
    # A replica that somebody started before this control plane is as new as what is wanted now.
    generation = record.generation or (wanted.generation if wanted else 0)
    again = record.again and record.host == host_id
    record = changed(record, host=host_id, generation=generation, again=again)
    return _updated(state, record, seen, at)


def _updated(state: State, record: ReplicaRecord, seen: Sighting, at: Moment) -> ReplicaRecord:
    command = record.command
    if command is None:
        return _unasked(state, record, seen, at)
    match command.kind:
        case CommandKind.START:
            return _told_to_start(state, record, command, seen, at)
        case CommandKind.STOP:
            return _told_to_stop(record, command, seen, at)
        case _:
            assert_never(command.kind)


def _told_to_start(
    state: State, record: ReplicaRecord, command: Command, seen: Sighting, at: Moment
) -> ReplicaRecord:
    if seen.live:
        in_flight = None if seen.state in SERVING else replace(command, acknowledged=True)
        return _alive(record, seen, at, command=in_flight)
    if _may_be_older(command, seen, at):
        return record
    if seen.state is ReplicaState.FAILED:
        return exited(state, seen.replica, record, _exit(seen), at)
    if command.acknowledged:
        how = Exit(seen.reason or "it stopped before it was ready", error=seen.error)
        return exited(state, seen.replica, record, how, at)
    return record  # The command did not arrive; it is sent again.


def _told_to_stop(record: ReplicaRecord, command: Command, seen: Sighting, at: Moment) -> ReplicaRecord:
    if not seen.live:
        return record if _may_be_older(command, seen, at) else stopped(record, at, reason=seen.reason)
    command = replace(command, acknowledged=command.acknowledged or seen.state in _ENDING)
    if is_abandoned(record):
        return changed(record, command=command)
    return _alive(record, seen, at, command=command)


def _unasked(state: State, record: ReplicaRecord, seen: Sighting, at: Moment) -> ReplicaRecord:
    host = host_of(state, record)
    is_ending = host is not None and host.phase is HostPhase.STOPPING
    if seen.live:
        # What was given up is alive again only when it serves, not when it is cleared away.
        is_back = seen.state in SERVING and not is_ending
        return _alive(record, seen, at) if is_back or not is_given_up(record) else record
    is_unknown = record.state is ReplicaState.PENDING and not record.again
    if is_unknown and seen.state is ReplicaState.STOPPED:
        return stopped(record, at, reason=seen.reason)
    is_news = record.state in LIVE or is_unknown
    if not is_news or seen.state is record.state:
        return record
    # Whether a host that is ending ended in order is known when its process has exited.
    return (
        stopped(record, at, reason=seen.reason)
        if is_ending
        else exited(state, seen.replica, record, _exit(seen), at)
    )


def _alive(record: ReplicaRecord, seen: Sighting, at: Moment, **changes: Any) -> ReplicaRecord:
    if record.started_at_s is None:
        changes["started_at_s"] = at.now_s - seen.uptime_s
    if seen.state in SERVING:
        changes.update(retry_at_s=None, finished=False)
    return move(record, seen.state, at, reason=seen.reason, error=seen.error, **changes)


def _may_be_older(command: Command, seen: Sighting, at: Moment) -> bool:
    return not (seen.at_once or command.acknowledged or at.now_s >= command.issued_at_s + RESEND_S)


def _exit(seen: Sighting) -> Exit:
    match seen.state:
        case ReplicaState.FAILED:
            return Exit(seen.reason or "it failed", permanent=seen.permanent, error=seen.error)
        case ReplicaState.STOPPED:
            return Exit(seen.reason or "it ended by itself", clean=True)
        case _:
            return Exit("its host no longer runs it", error=seen.error)
