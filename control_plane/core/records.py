"""How the record of one replica changes: the moves, and what an exit leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar, assert_never

from contracts.status import ReplicaState
from control_plane.core.inputs import Moment
from control_plane.core.questions import is_abandoned, is_needed, is_stale, is_stop_in_flight
from control_plane.core.restart_policy import Finished, GiveUp, Retry, decide, recent
from control_plane.core.state import DesiredComponent, HostRecord, ReplicaRecord, State
from control_plane.core.transitions import LIVE

Record = TypeVar("Record", HostRecord, ReplicaRecord)


@dataclass(frozen=True)
class Exit:
    """How a replica ended. `clean`: in order, by itself. `permanent`: a restart would end the same way."""

    reason: str
    clean: bool = False
    permanent: bool = False
    error: Mapping[str, Any] | None = None


def changed(record: Record, **changes: Any) -> Record:
    """Return the record with these changes; the same object where it has them already."""
    for name, value in changes.items():
        if getattr(record, name) != value:
            return replace(record, **changes)
    return record


def move(record: ReplicaRecord, to_state: ReplicaState, at: Moment, **changes: Any) -> ReplicaRecord:
    """Return the record in that state, with these changes."""
    if to_state is not record.state:
        changes.setdefault("since_s", at.now_s)
    if to_state not in LIVE:
        changes.setdefault("started_at_s", None)
    if to_state is not ReplicaState.PENDING:
        changes["again"] = False
    elif record.state is not ReplicaState.PENDING:
        changes.setdefault("again", True)
    return changed(record, state=to_state, **changes)


def stopped(record: ReplicaRecord, at: Moment, *, reason: str | None = None) -> ReplicaRecord:
    """Return the record of a replica that is down on purpose."""
    return move(record, ReplicaState.STOPPED, at, command=None, retry_at_s=None, reason=reason)


def forgiven(record: ReplicaRecord, at: Moment) -> ReplicaRecord:
    """Return the record with its crash history cleared, free to start at once."""
    cleared = replace(record, exits=(), retry_at_s=None, finished=False)
    if record.state in LIVE or is_abandoned(record):
        return cleared
    return move(cleared, ReplicaState.PENDING, at, reason=None, error=None)


def exited(state: State, replica: str, record: ReplicaRecord, how: Exit, at: Moment) -> ReplicaRecord:
    """Return the record of a replica that has ended: on purpose, or as its restart policy says."""
    on_purpose = is_stop_in_flight(record) or is_stale(state, record) or not is_needed(state, replica, record)
    if on_purpose:
        return stopped(record, at, reason=record.reason if record.command else None)
    return _after_exit(state.desired.components[record.component], record, how, at)


def _after_exit(wanted: DesiredComponent, record: ReplicaRecord, how: Exit, at: Moment) -> ReplicaRecord:
    policy = wanted.spec.restart
    exits = (*recent(policy, record.exits, now_s=at.now_s), at.now_s)
    decision = decide(
        policy, exits, now_s=at.now_s, jitter=at.jitter, clean=how.clean, permanent=how.permanent
    )
    ended = replace(record, exits=exits, command=None, retry_at_s=None, reason=how.reason, error=how.error)
    match decision:
        case Retry(at_s):
            restarts = record.restarts + 1
            return move(ended, ReplicaState.BACKOFF, at, retry_at_s=at_s, restarts=restarts)
        case GiveUp(reason):
            return move(ended, ReplicaState.FAILED, at, reason=f"{how.reason}; {reason}")
        case Finished():
            return move(ended, ReplicaState.STOPPED, at, finished=True)
        case _:
            assert_never(decision)
