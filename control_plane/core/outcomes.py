"""What becomes of requests: each is accepted or refused at once, and ends in one outcome.

It is done when what was asked for is so, and failed when it cannot become so, or has not by its deadline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from contracts.errors import ControlError
from contracts.messages import AnyRequest
from contracts.status import ReplicaState
from control_plane.core.deadlines import is_due
from control_plane.core.effects import Conclude
from control_plane.core.inputs import Moment
from control_plane.core.questions import (
    all_replicas,
    is_down_wanted,
    is_unheard,
    is_wanted,
    missing_dependencies,
    serving_components,
)
from control_plane.core.rollouts import is_blocked
from control_plane.core.state import REQUESTS_KEPT, OpenRequest, ReplicaRecord, State
from control_plane.core.status import settled_components
from control_plane.core.transitions import DOWN

_REPLACING: Final = frozenset({"restart", "move"})


def opened(state: State, request: AnyRequest, at: Moment) -> State:
    """Return the state that waits for the outcome of an accepted request."""
    waiting = OpenRequest(request.request_id, request.type, request.component, at.now_s + request.timeout_s)
    return replace(
        state,
        open_requests=(*state.open_requests, waiting),
        known_requests=(*state.known_requests, request.request_id)[-REQUESTS_KEPT:],
    )


def concluded(state: State, at: Moment) -> tuple[State, tuple[Conclude, ...]]:
    """Return the state without the requests that have their outcome now, and those outcomes."""
    ends = tuple(_ends(state, at)) if state.open_requests else ()
    if not ends:
        return state, ()
    over = {end.request_id for end in ends}
    still_open = tuple(request for request in state.open_requests if request.id not in over)
    return replace(state, open_requests=still_open), ends


def _ends(state: State, at: Moment) -> Iterator[Conclude]:
    # What runs is known when the hosts that were taken over have spoken.
    is_known = not any(is_unheard(host) for host in state.observed.hosts.values())
    settled = settled_components(state, {request.component for request in state.open_requests})
    for request in state.open_requests:
        if is_known and _is_over(state, request, settled):
            yield _conclude(request, _failure(state, request))
        elif is_due(request.deadline_s, at.now_s):
            yield _conclude(request, _late(request))


def _is_over(state: State, request: OpenRequest, settled: frozenset[str]) -> bool:
    """Return whether waiting longer changes nothing for whoever asked."""
    if request.kind in _REPLACING and request.component in state.desired.rolling:
        return is_blocked(state, request.component)
    return request.component in settled


def _conclude(request: OpenRequest, error: ControlError | None) -> Conclude:
    return Conclude(
        request.id, request.kind, request.component, error.as_dict() if error is not None else None
    )


def _failure(state: State, request: OpenRequest) -> ControlError | None:
    if (later := _overtaken_by(state, request)) is not None:
        return ControlError(f"'{request.kind} {request.component}' was overtaken by a {later}", code="E3003")
    serving = serving_components(state)
    failed = [
        f"'{replica}': {why}"
        for replica, record in all_replicas(state, {request.component})
        if is_wanted(state, replica, record) and (why := _why_not(state, record, serving))
    ]
    if not failed:
        return None
    kept = "; what ran before still runs" if is_blocked(state, request.component) else ""
    return ControlError(
        f"'{request.kind} {request.component}' has failed",
        why="; ".join(failed) + kept,
        fix=f"see `ctl why {request.component}`",
        code="E3003",
    )


def _why_not(state: State, record: ReplicaRecord, serving: frozenset[str]) -> str | None:
    """Return why the replica does not serve, and will not."""
    if record.state is ReplicaState.FAILED:
        return record.reason or "no reason was given"
    if record.finished and is_blocked(state, record.component):
        return f"it ended before it could stand in for another: {record.reason or 'no reason was given'}"
    if record.state not in DOWN or record.finished:
        return None
    missing = missing_dependencies(state, record.component, serving)
    return f"waits for {', '.join(sorted(missing))}" if missing else None


def _overtaken_by(state: State, request: OpenRequest) -> str | None:
    """Return the kind of a later request that wants the opposite; what is stopped can be scaled and moved."""
    is_down = is_down_wanted(state, request.component)
    if request.kind == "stop":
        return None if is_down else "start"
    needs_it_up = request.kind in ("start", "restart") or state.desired.stopping
    return "stop" if is_down and needs_it_up else None


def _late(request: OpenRequest) -> ControlError:
    return ControlError(
        f"'{request.kind} {request.component}' was accepted, but not done in time",
        fix=f"see `ctl why {request.component}` for what it waits for",
        code="E3004",
    )
