"""What the control plane says on the event stream by itself: the ends of hosts, and what it made of them.

Hosts say what happens in them. That one is dead, and that a replica is started again later or not any
more, only the control plane knows; whoever reads the stream then has the whole story.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from contracts.messages import CommandCompleted, CommandFailed, ComponentTransitioned
from contracts.status import ReplicaState
from control_plane.core.effects import Conclude
from control_plane.core.inputs import HostExited
from control_plane.core.state import ReplicaRecord, State

# A replica's name, its record before, and after.
Changes = Sequence[tuple[str, ReplicaRecord | None, ReplicaRecord]]

_ENDED = frozenset({ReplicaState.STOPPED, ReplicaState.BACKOFF, ReplicaState.FAILED})
_DECISIONS = frozenset({ReplicaState.BACKOFF, ReplicaState.FAILED, ReplicaState.LOST})


def last_words(state: State, exited: HostExited) -> Iterator[ComponentTransitioned]:
    """Yield what a dead host can no longer say of its replicas; gateways send nothing there any more."""
    how = (
        f"ended with signal {exited.signal}" if exited.signal else f"ended with exit code {exited.exit_code}"
    )
    if exited.signal and exited.killed_because:
        how = f"was killed: {exited.killed_because}"
    for name, record in state.observed.replicas.items():
        if record.host == exited.host and record.state not in _ENDED:
            yield ComponentTransitioned(
                component=record.component,
                replica=name,
                host=exited.host,
                from_state=record.state,
                to_state=ReplicaState.LOST,
                reason=f"its host {how}",
            )


def changes(before: State, after: State) -> Changes:
    """Return each replica whose record is another one, with both."""
    was, now = before.observed.replicas, after.observed.replicas
    if was is now:
        return []
    return [(name, was.get(name), record) for name, record in now.items() if record is not was.get(name)]


def decisions(changed: Changes) -> Iterator[ComponentTransitioned]:
    """Yield the transitions that were decided here; they name no host, since none made them."""
    for name, was, record in changed:
        if record.state not in _DECISIONS or (was and was.state is record.state):
            continue
        yield ComponentTransitioned(
            component=record.component,
            replica=name,
            host="",
            from_state=was.state if was else ReplicaState.PENDING,
            to_state=record.state,
            reason=record.reason,
            error=dict(record.error) if record.error else None,
            retry_in_s=_retry_in_s(record),
        )


def _retry_in_s(record: ReplicaRecord) -> float | None:
    return None if record.retry_at_s is None else round(max(0.0, record.retry_at_s - record.since_s), 3)


def outcome(end: Conclude) -> CommandCompleted | CommandFailed:
    """Return the event that tells what a request came to; its id is the command's."""
    if end.error is None:
        return CommandCompleted(component=end.component, host="", command_id=end.request_id, command=end.kind)
    return CommandFailed(
        component=end.component,
        host="",
        command_id=end.request_id,
        command=end.kind,
        error=dict(end.error),
    )
