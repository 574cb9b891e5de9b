"""The state machine of the control plane: one input in, the next state and what to answer out.

Pure: the same state, input, time and jitter give the same result, so that a recorded run replays.
"""

from __future__ import annotations

from typing import assert_never

from contracts.messages import (
    AnyRequest,
    CommandCompleted,
    CommandFailed,
    ComponentRegistered,
    ComponentTransitioned,
    HostHeartbeat,
    HostStopping,
    LoopBlocked,
)
from control_plane.core import hosts, timeouts
from control_plane.core.effects import Effect
from control_plane.core.inputs import (
    BusLost,
    BusRecovered,
    HostDelayed,
    HostExited,
    HostSpared,
    HostSpawned,
    Input,
    Internal,
    Issued,
    Moment,
    SpawnFailed,
    StopAll,
    TimePassed,
)
from control_plane.core.issued import issued
from control_plane.core.outcomes import concluded
from control_plane.core.requests import requested, stop_all
from control_plane.core.rollouts import advanced
from control_plane.core.state import State
from control_plane.core.strategies import followed


def reduce(
    state: State, event: Input, *, now_s: float, jitter: float = 0.5
) -> tuple[State, tuple[Effect, ...]]:
    """Return the state after the input, and the answers and outcomes that are due at once."""
    at = Moment(now_s, jitter)
    after, answers = _step(state, event, at)
    after, outcomes = concluded(advanced(followed(state, after)), at)
    return after, (*answers, *outcomes)


def _step(state: State, event: Input, at: Moment) -> tuple[State, tuple[Effect, ...]]:
    if isinstance(event, AnyRequest):
        state, answer = requested(state, event, at)
        return state, (answer,)
    match event:
        case HostHeartbeat():
            return hosts.heartbeat(state, event, at), ()
        case ComponentTransitioned():
            return hosts.transitioned(state, event, at), ()
        case HostStopping():
            return hosts.stopping(state, event, at), ()
        case CommandCompleted():
            return hosts.completed(state, event, at), ()
        case CommandFailed():
            return hosts.failed(state, event, at), ()
        case ComponentRegistered():
            return state.with_routes(event.component, event.routes), ()
        case LoopBlocked():
            return state, ()  # For people.
        case _:
            return _internal(state, event, at), ()


def _internal(state: State, event: Internal, at: Moment) -> State:
    match event:
        case HostSpawned():
            return hosts.spawned(state, event, at)
        case HostDelayed():
            return hosts.delayed(state, event)
        case SpawnFailed():
            return hosts.ended(state, event.host, hosts.spawn_failure(event), at)
        case HostExited():
            return hosts.ended(state, event.host, hosts.exit_of(state, event), at)
        case HostSpared():
            return hosts.spared(state, event, at)
        case StopAll():
            return stop_all(state, at)
        case Issued(effect):
            return issued(state, effect, at)
        case TimePassed():
            return timeouts.time_passed(state, at)
        case BusLost():
            return state.with_bus(connected=False)
        case BusRecovered():
            return timeouts.bus_recovered(state, at)
        case _:
            assert_never(event)
