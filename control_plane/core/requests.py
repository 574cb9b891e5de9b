"""How the state changes with what operators ask for, and what they are answered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, assert_never

from contracts.errors import ControlError, did_you_mean
from contracts.messages import AnyRequest, RestartRequest, ScaleRequest, StartRequest, StopRequest
from control_plane.core.effects import Answer
from control_plane.core.inputs import Moment
from control_plane.core.questions import all_replicas, is_wanted
from control_plane.core.records import forgiven, stopped
from control_plane.core.state import DesiredComponent, State
from control_plane.core.transitions import DOWN


def requested(state: State, request: AnyRequest, at: Moment) -> tuple[State, Answer]:
    """Change what is wanted, or refuse; what is observed follows later."""
    refusal = _refusal(state, request)
    if refusal is not None:
        return state, Answer(request.request_id, accepted=False, error=refusal)
    after = _changed(state, request, state.desired.components[request.component], at)
    return after, Answer(request.request_id, accepted=True)


def stop_all(state: State, at: Moment) -> State:
    """Want everything down, for good."""
    state = replace(state, desired=replace(state.desired, stopping=True))
    for name in state.desired.components:
        state = _stand_down(state, name, at)
    return state


def _refusal(state: State, request: AnyRequest) -> dict[str, Any] | None:
    known = state.desired.components
    if request.component not in known:
        fix = did_you_mean(request.component, known)
        return ControlError(f"unknown component '{request.component}'", fix=fix, code="E3002").as_dict()
    if state.desired.stopping and not isinstance(request, StopRequest):
        return ControlError("the application is stopping", fix="launch it again", code="E3007").as_dict()
    return None


def _changed(state: State, request: AnyRequest, wanted: DesiredComponent, at: Moment) -> State:
    name = request.component
    match request:
        case StartRequest():
            return _forgive(state.with_component(name, replace(wanted, running=True)), name, at)
        case RestartRequest():
            newer = replace(wanted, running=True, generation=wanted.generation + 1)
            return _forgive(state.with_component(name, newer), name, at)
        case StopRequest():
            return _stand_down(state.with_component(name, replace(wanted, running=False)), name, at)
        case ScaleRequest(replicas=replicas):
            return _stand_down(state.with_component(name, replace(wanted, replicas=replicas)), name, at)
        case _:
            assert_never(request)


def _forgive(state: State, component: str, at: Moment) -> State:
    for replica, record in tuple(all_replicas(state)):
        if record.component == component and is_wanted(state, replica, record):
            state = state.with_replica(replica, forgiven(record, at))
    return state


def _stand_down(state: State, component: str, at: Moment) -> State:
    """Let what is not wanted and not running be stopped at once; what runs is told to stop by the plan."""
    for replica, record in tuple(all_replicas(state)):
        unwanted = record.component == component and not is_wanted(state, replica, record)
        if unwanted and record.state in DOWN and record.command is None:
            state = state.with_replica(replica, stopped(record, at))
    return state
