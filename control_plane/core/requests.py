"""How the state changes with what operators ask for, and what they are answered."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import assert_never

from contracts.errors import ControlError, did_you_mean
from contracts.messages import (
    AnyRequest,
    MoveRequest,
    RestartRequest,
    ScaleRequest,
    StartRequest,
    StopRequest,
)
from contracts.specs import GATEWAY, Mode
from control_plane.core.effects import Answer
from control_plane.core.inputs import Moment
from control_plane.core.outcomes import opened
from control_plane.core.placement import ISOLATED, replica_ids
from control_plane.core.questions import (
    all_replicas,
    host_of,
    is_foreign,
    is_in_unheard_host,
    is_wanted,
    key_of,
    replicas_of_component,
)
from control_plane.core.records import forgiven, stopped
from control_plane.core.rollouts import replaced
from control_plane.core.state import DesiredComponent, ReplicaRecord, State
from control_plane.core.transitions import DOWN, LIVE


def requested(state: State, request: AnyRequest, at: Moment) -> tuple[State, Answer]:
    """Change what is wanted, or refuse; what is observed follows later."""
    if request.request_id and request.request_id in state.known_requests:
        return state, Answer(request.request_id, accepted=True)
    refusal = _refusal(state, request)
    if refusal is not None:
        return state, Answer(request.request_id, accepted=False, error=refusal.as_dict())
    after = _changed(state, request, state.desired.components[request.component], at)
    return opened(after, request, at), Answer(request.request_id, accepted=True)


def stop_all(state: State, at: Moment) -> State:
    """Want everything down, for good."""
    components = {name: replace(wanted, rolling=False) for name, wanted in state.desired.components.items()}
    desired = replace(state.desired, components=components, stopping=True)
    return _stand_down(replace(state, desired=desired), components, at)


def _refusal(state: State, request: AnyRequest) -> ControlError | None:
    known = state.desired.components
    if request.component not in known:
        fix = did_you_mean(request.component, known)
        return ControlError(f"unknown component '{request.component}'", fix=fix, code="E3002")
    if state.desired.stopping and not isinstance(request, StopRequest):
        return ControlError("the application is stopping", fix="launch it again", code="E3007")
    return _no_way(state, request) if isinstance(request, MoveRequest) else None


def _no_way(state: State, request: MoveRequest) -> ControlError | None:
    """Return why the component cannot be moved there."""
    groups = {wanted.spec.group for wanted in state.desired.components.values() if wanted.spec.group}
    if state.desired.mode is Mode.SINGLE:
        why, fix = "in single mode everything shares one process", "launch with --mode multi or hybrid"
    elif request.component == GATEWAY and request.to != ISOLATED:
        why, fix = "a process takes over the public socket only when it is made", "move what is behind it"
    elif request.to not in {ISOLATED, *groups}:
        why, fix = f"there is no group '{request.to}'", did_you_mean(request.to, {ISOLATED, *groups})
    else:
        return None
    what = f"component '{request.component}' cannot be moved to '{request.to}'"
    return ControlError(what, why=why, fix=fix, code="E3008")


def _changed(state: State, request: AnyRequest, wanted: DesiredComponent, at: Moment) -> State:
    name = request.component
    match request:
        case StartRequest():
            return _forgive(state.with_component(name, replace(wanted, running=True)), name, at)
        case RestartRequest(rolling=rolling):
            wanted = replace(wanted, running=True)
            return _forgive(replaced(state, name, wanted, rolling=rolling), name, at)
        case StopRequest():
            wanted = replace(wanted, running=False, rolling=False)
            return _stand_down(state.with_component(name, wanted), {name}, at)
        case ScaleRequest(replicas=replicas):
            state = _stand_down(state.with_component(name, replace(wanted, replicas=replicas)), {name}, at)
            return _forgive(state, name, at, only=replica_ids(name, replicas)[wanted.replicas :])
        case MoveRequest(to=place):
            return _moved(state, name, replace(wanted, place=place), at)
        case _:
            assert_never(request)


def _moved(state: State, component: str, wanted: DesiredComponent, at: Moment) -> State:
    after = state.with_component(component, wanted)
    hosts = [
        (replica, host_of(state, record))
        for replica, record in replicas_of_component(state, component)
        if _may_run(state, record) and not is_foreign(state, record)
    ]
    if all(host is None or host.key == key_of(after, replica, component) for replica, host in hosts):
        return after
    return _forgive(replaced(after, component, wanted, rolling=True), component, at)


def _may_run(state: State, record: ReplicaRecord) -> bool:
    return record.state in LIVE or is_in_unheard_host(state, record)


def _forgive(state: State, component: str, at: Moment, *, only: Collection[str] | None = None) -> State:
    return state.with_replicas(
        {
            replica: forgiven(record, at)
            for replica, record in all_replicas(state, {component})
            if (only is None or replica in only) and is_wanted(state, replica, record)
        }
    )


def _stand_down(state: State, components: Collection[str], at: Moment) -> State:
    """Let what is not wanted and not running be stopped at once; what runs is told to stop by the plan."""
    return state.with_replicas(
        {
            replica: stopped(record, at)
            for replica, record in all_replicas(state, components)
            if record.state in DOWN and record.command is None and not is_wanted(state, replica, record)
        }
    )
