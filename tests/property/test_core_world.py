"""Generated histories of a simulated machine: what must always hold, and that it settles in the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.messages import (
    AnyRequest,
    MoveRequest,
    RestartRequest,
    ScaleRequest,
    StartRequest,
    StopRequest,
)
from contracts.specs import ComponentSpec, Mode, RestartSpec
from contracts.status import ReplicaState
from control_plane.core.questions import all_replicas, is_needed, is_wanted
from control_plane.core.reducer import reduce
from control_plane.core.rollouts import is_blocked
from control_plane.core.status import component_statuses, is_settled, is_stopped
from control_plane.core.transitions import LIVE
from tests.property.world import SimHost, World

NAMES: Final = ("a", "b", "c")
Step = tuple[str, int, float]


def _component(world: World, n: int) -> str:
    names = tuple(world.state.desired.components)
    return names[n % len(names)]


def _on_host(act: Callable[[World, SimHost], None]) -> Callable[[World, int], None]:
    def step(world: World, n: int) -> None:
        if world.hosts:
            act(world, tuple(world.hosts.values())[n % len(world.hosts)])

    return step


def _on_replica(act: Callable[[SimHost, str], None]) -> Callable[[World, int], None]:
    def step(world: World, n: int) -> None:
        replicas = [(host, name) for host in world.hosts.values() if not host.hung for name in host.replicas]
        if replicas:
            act(*replicas[n % len(replicas)])

    return step


def _fail(host: SimHost, name: str) -> None:
    if host.replicas[name].state in LIVE:
        host.change(name, ReplicaState.FAILED)


def _fail_for_good(host: SimHost, name: str) -> None:
    if host.replicas[name].state is ReplicaState.STARTING:
        host.change(name, ReplicaState.FAILED, permanent=True)


def _finish(host: SimHost, name: str) -> None:
    if host.replicas[name].state in (ReplicaState.READY, ReplicaState.DEGRADED):
        host.change(name, ReplicaState.STOPPED)


def _sicken(host: SimHost, name: str) -> None:
    if host.replicas[name].state is ReplicaState.READY:
        host.change(name, ReplicaState.DEGRADED)


def _stick(host: SimHost, name: str) -> None:
    host.replicas[name].stuck = True


def _break(host: SimHost, name: str) -> None:
    host.replicas[name].broken = True


def _hang(_: World, host: SimHost) -> None:
    host.hung = True


def _drop_event(world: World, _: int) -> None:
    if world.events:
        world.events.popleft()


def _drop_command(world: World, _: int) -> None:
    if world.commands:
        world.commands.popleft()


def _fail_spawns(world: World, n: int) -> None:
    world.spawns_fail = bool(n % 2)


def _freeze_kills(world: World, n: int) -> None:
    world.kills_come_late = bool(n % 2)


def _ask(world: World, request: AnyRequest) -> None:
    """Ask with a deadline that never comes: what has no outcome in the end was forgotten."""
    world.ask(request.model_copy(update={"timeout_s": 86_400.0}))


STEPS: Final[dict[str, Callable[[World, int], None]]] = {
    "advance": lambda world, n: world.advance((0.1, 0.5, 2.0, 7.0, 20.0)[n % 5]),
    "progress_all": lambda world, n: world.progress_all(),
    "progress_one": _on_replica(SimHost.progress),
    "deliver_anchor": lambda world, n: world.deliver_anchor(),
    "deliver_event": lambda world, n: world.deliver_event(),
    "deliver_event_twice": lambda world, n: world.deliver_event(twice=True),
    "deliver_command": lambda world, n: world.deliver_command(),
    "deliver_command_twice": lambda world, n: world.deliver_command(twice=True),
    "drop_event": _drop_event,
    "drop_command": _drop_command,
    "crash": _on_host(lambda world, host: world.crash(host.id, signal=11)),
    "exit_cleanly": _on_host(lambda world, host: world.crash(host.id, exit_code=0)),
    "terminate": _on_host(lambda world, host: host.end()),
    "hang": _on_host(_hang),
    "beat": _on_host(lambda world, host: None if host.hung else host.beat()),
    "fail": _on_replica(_fail),
    "fail_for_good": _on_replica(_fail_for_good),
    "finish": _on_replica(_finish),
    "sicken": _on_replica(_sicken),
    "stick": _on_replica(_stick),
    "break": _on_replica(_break),
    "fail_spawns": _fail_spawns,
    "freeze_kills": _freeze_kills,
    "lose_bus": lambda world, n: world.lose_bus(),
    "recover_bus": lambda world, n: world.recover_bus(),
    "take_over": lambda world, n: world.take_over(),
    "foreign": lambda world, n: world.add_foreign(_component(world, n)),
    "start": lambda world, n: _ask(world, StartRequest(component=_component(world, n))),
    "stop": lambda world, n: _ask(world, StopRequest(component=_component(world, n))),
    "restart": lambda world, n: _ask(world, RestartRequest(component=_component(world, n))),
    "replace": lambda world, n: _ask(world, RestartRequest(component=_component(world, n), rolling=False)),
    "move": lambda world, n: _ask(
        world, MoveRequest(component=_component(world, n), to=("isolated", "g", "nowhere")[n % 3])
    ),
    "scale": lambda world, n: _ask(world, ScaleRequest(component=_component(world, n), replicas=n % 4)),
    "stop_all": lambda world, n: world.stop_all() if n % 8 == 0 else None,
}


@st.composite
def _components(draw: st.DrawFn) -> tuple[ComponentSpec, ...]:
    specs = []
    for position, name in enumerate(NAMES):
        depends_on = tuple(other for other in NAMES[:position] if draw(st.booleans()))
        specs.append(
            ComponentSpec(
                name=name,
                use="m:C",
                depends_on=depends_on,
                replicas=draw(st.integers(1, 2)),
                group=draw(st.sampled_from([None, "g"])),
                on_dependency_failure=draw(st.sampled_from(["ignore", "ignore", "wait", "restart"])),
                grace_period_s=draw(st.sampled_from([0.5, 5.0])),
                startup_timeout_s=10.0,
                restart=RestartSpec(
                    policy=draw(st.sampled_from(["always", "on-failure", "on-failure", "never"])),
                    max_restarts=draw(st.integers(0, 3)),
                ),
            )
        )
    return tuple(specs)


WORLDS = st.builds(
    World,
    st.sampled_from([Mode.SINGLE, Mode.MULTI, Mode.HYBRID]),
    _components(),
    st.sampled_from([frozenset(), frozenset({"g"})]),
)
HISTORY = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 40), st.floats(0, 1)), min_size=5, max_size=80
)


def _play(world: World, history: list[Step]) -> None:
    for name, n, jitter in history:
        world.jitter = jitter
        STEPS[name](world, n)


def _live(world: World) -> set[str]:
    hosts = world.hosts.values()
    return {name for host in hosts for name, replica in host.replicas.items() if replica.state in LIVE}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WORLDS, HISTORY)
def test_any_history_keeps_the_rules_and_settles_once_faults_end(world: World, history: list[Step]) -> None:
    """`Rules` is checked inside; then what runs is what is wanted, and every request has had one outcome."""
    _play(world, history)
    world.heal()
    world.settle()
    assert is_settled(world.state), component_statuses(world.state, now_s=world.now_s)
    observed = {name for name, record in all_replicas(world.state) if record.state in LIVE}
    unwanted = {
        name for name, record in all_replicas(world.state) if not is_wanted(world.state, name, record)
    }
    assert observed == _live(world)
    assert not observed & unwanted
    # A replacement stands still only where a new replica has failed.
    assert all(is_blocked(world.state, name) for name in world.state.desired.rolling)
    accepted = sorted(answer.request_id for answer in world.answers if answer.accepted)
    assert sorted(end.request_id for end in world.outcomes) == accepted
    if world.state.desired.stopping:
        assert is_stopped(world.state)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WORLDS, HISTORY)
def test_an_operators_restart_of_everything_brings_back_what_was_given_up(
    world: World, history: list[Step]
) -> None:
    """Whatever happened before, and although an operator had stopped some of it."""
    _play(world, [step for step in history if step[0] not in ("stop_all", "scale")])
    world.heal()
    world.settle()
    for name in world.state.desired.components:
        world.ask(RestartRequest(component=name))
    world.settle()
    wanted = [
        (name, record) for name, record in all_replicas(world.state) if is_wanted(world.state, name, record)
    ]
    assert wanted
    assert all(is_needed(world.state, name, record) for name, record in wanted)
    assert {name for name, _ in wanted} <= _live(world)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(WORLDS, HISTORY)
def test_the_same_inputs_give_the_same_state(world: World, history: list[Step]) -> None:
    """Replay of everything that was told, with its times and jitters."""
    _play(world, history)
    state = world.first_state
    for event, now_s, jitter in world.trace:
        state, _ = reduce(state, event, now_s=now_s, jitter=jitter)
    assert state == world.state
