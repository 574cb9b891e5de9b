"""Whom a failure drags along: dependents that ask for it, and groups that fail as one."""

from __future__ import annotations

import pytest

from contracts.messages import RestartRequest, StopRequest
from contracts.specs import ComponentSpec, GroupSpec, Mode, Settings
from contracts.status import ReplicaState
from control_plane.core.effects import SendStart, SendStop, SpawnHost
from control_plane.core.inputs import BusRecovered, HostExited, HostSpawned, StopAll
from control_plane.core.state import initial_state
from control_plane.core.status import component_statuses
from tests.support.core_steps import Core, component

S = ReplicaState


def chain(on_failure: str, *names: str) -> Core:
    """Return a core of components that depend on each other in this order, all ready in h1-1, h1-2, ..."""
    specs = [
        component(name, depends_on=names[at - 1 : at] if at else (), on_dependency_failure=on_failure)
        for at, name in enumerate(names)
    ]
    return all_ready(Core(*specs))


def all_ready(core: Core) -> Core:
    core.wait(0)
    for host_id, host in dict(core.state.observed.hosts).items():
        core.run(host_id, *host.replicas)
    return core


def grouped(*specs: ComponentSpec, strategy: str) -> Core:
    core = Core(*specs)
    settings = Settings(
        components={spec.name: spec for spec in specs},
        groups={"agents": GroupSpec.model_validate({"strategy": strategy})},
    )
    core.state = initial_state(settings, Mode.MULTI)
    return all_ready(core)


def stopped(effects: object) -> list[str]:
    return [effect.replica for effect in effects if isinstance(effect, SendStop)]  # type: ignore[attr-defined]


class TestFaultyVersions:
    """A new version that fails to start beside the one that serves: nobody held anything of it."""

    def test_its_group_goes_on(self) -> None:
        core = grouped(
            component("writer", group="agents"), component("critic", group="agents"), strategy="one-for-all"
        )
        core.tell(RestartRequest(component="writer"))
        core.beat("h1-3", {"writer-2": S.PENDING})
        assert stopped(core.move("h1-3", "writer-2", S.FAILED, permanent=True)) == []
        assert core.replica("writer-1").state is S.READY
        assert stopped(core.wait(0)) == []

    def test_who_depends_on_it_goes_on(self) -> None:
        core = chain("restart", "outliner", "writer")
        core.tell(RestartRequest(component="outliner"))
        core.beat("h1-3", {"outliner-2": S.PENDING})
        assert stopped(core.tell(HostExited("h1-3", 1, exit_code=1))) == []
        assert core.replica("outliner-2").exits

    def test_one_that_has_served_counts(self) -> None:
        core = chain("restart", "outliner", "writer")
        core.tell(RestartRequest(component="outliner"))
        core.run("h1-3", "outliner-2")
        assert stopped(core.tell(HostExited("h1-3", 1, signal=9))) == ["writer-1"]


class TestDependents:
    def test_who_ignores_it_keeps_running(self) -> None:
        core = chain("ignore", "outliner", "writer")
        assert stopped(core.tell(HostExited("h1-1", 1, signal=9))) == []

    def test_who_waits_stops_and_comes_back_when_the_dependency_serves(self) -> None:
        core = chain("wait", "outliner", "writer")
        assert stopped(core.tell(HostExited("h1-1", 1, signal=9))) == ["writer-1"]
        core.move("h1-2", "writer-1", S.STOPPED)
        (writer,) = component_statuses(core.state, now_s=core.now_s)[1].replicas
        assert (writer.state, writer.reason) == ("pending", "waits for outliner")
        effects = core.run("h1-3", "outliner-1")
        assert [effect.replica for effect in effects if isinstance(effect, SendStart)] == ["writer-1"]

    def test_who_waits_is_not_stopped_while_another_replica_serves(self) -> None:
        core = all_ready(
            Core(
                component("outliner", replicas=2),
                component("writer", depends_on=("outliner",), on_dependency_failure="wait"),
            )
        )
        assert stopped(core.tell(HostExited("h1-1", 1, signal=9))) == []

    def test_a_dependency_that_an_operator_stops_has_not_failed(self) -> None:
        core = chain("wait", "outliner", "writer")
        core.tell(StopRequest(component="outliner"))
        assert stopped(core.move("h1-1", "outliner-1", S.STOPPED)) == []

    def test_rest_for_one_replaces_everybody_behind_what_failed_and_nobody_before(self) -> None:
        core = chain("restart", "a", "b", "c", "d")
        effects = core.tell(HostExited("h1-2", 1, signal=9))
        assert stopped(effects) == ["c-1", "d-1"]
        assert [effect.key for effect in effects if isinstance(effect, SpawnHost)] == ["b-1"]

    def test_who_does_not_ask_for_it_is_left_alone_beside_somebody_who_does(self) -> None:
        calm = component("b", depends_on=("a",))
        anxious = component("c", depends_on=("a",), on_dependency_failure="restart")
        core = all_ready(Core(component("a"), calm, anxious))
        assert stopped(core.tell(HostExited("h1-1", 1, signal=9))) == ["c-1"]

    def test_what_has_not_started_is_not_replaced(self) -> None:
        core = Core(component("a"), component("b", depends_on=("a",), on_dependency_failure="restart"))
        core.wait(0)
        core.beat("h1-2", {"b-1": S.PENDING})
        core.tell(HostExited("h1-1", 1, signal=9))
        assert core.state.desired.components["b"].generation == 1

    def test_an_end_in_order_is_no_failure(self) -> None:
        core = chain("restart", "a", "b")
        assert stopped(core.tell(HostExited("h1-1", 1, exit_code=0))) == []

    def test_being_replaced_is_no_crash_of_ones_own(self) -> None:
        core = chain("restart", "a", "b")
        core.tell(HostExited("h1-1", 1, signal=9))
        core.move("h1-2", "b-1", S.STOPPED)
        core.tell(HostExited("h1-2", 1, exit_code=0))
        assert core.replica("b-1").exits == ()
        assert core.replica("b-1").restarts == 0

    def test_a_dependency_that_was_taken_over_and_not_heard_yet_has_not_failed(self) -> None:
        core = Core(
            component("outliner"),
            component("writer", depends_on=("outliner",), on_dependency_failure="wait"),
            epoch=2,
        )
        core.tell(HostSpawned("h1-1", 1, (("outliner-1", "outliner"),), "outliner-1"))
        core.tell(HostSpawned("h1-2", 2, (("writer-1", "writer"),), "writer-1"))
        assert core.beat("h1-2", {"writer-1": S.READY}) == ()
        assert core.tell(BusRecovered()) == ()


class TestGroups:
    MEMBERS = (component("a", group="agents"), component("b", group="agents"), component("c"))

    def test_one_for_all_replaces_the_whole_group_and_nobody_else(self) -> None:
        core = grouped(*self.MEMBERS, strategy="one-for-all")
        assert stopped(core.tell(HostExited("h1-1", 1, signal=9))) == ["b-1"]

    def test_one_for_one_leaves_the_group_alone(self) -> None:
        core = grouped(*self.MEMBERS, strategy="one-for-one")
        assert stopped(core.tell(HostExited("h1-1", 1, signal=9))) == []

    def test_a_group_beside_one_that_fails_as_one_is_left_alone(self) -> None:
        others = (component("d", group="others"), component("e", group="others"))
        core = grouped(*self.MEMBERS[:2], *others, strategy="one-for-all")
        assert stopped(core.tell(HostExited("h1-3", 1, signal=9))) == []

    def test_what_depends_on_the_group_follows_where_it_asks_for_it(self) -> None:
        after = component("c", depends_on=("b",), on_dependency_failure="restart")
        core = grouped(*self.MEMBERS[:2], after, strategy="one-for-all")
        assert stopped(core.tell(HostExited("h1-1", 1, signal=9))) == ["b-1", "c-1"]


class TestStopOfEverything:
    def test_the_gateway_goes_first_so_that_what_clients_asked_for_is_still_answered(self) -> None:
        core = all_ready(Core(component("gateway"), component("writer")))
        assert stopped(core.tell(StopAll())) == ["gateway-1"]
        core.move("h1-1", "gateway-1", S.DRAINING)
        assert stopped(core.move("h1-1", "gateway-1", S.STOPPED)) == ["writer-1"]

    @pytest.mark.parametrize("depends_on", [("gateway",), ("other",)])
    def test_who_depends_on_the_gateway_goes_before_it(self, depends_on: tuple[str, ...]) -> None:
        core = all_ready(
            Core(
                component("gateway"),
                component("other", depends_on=("gateway",)),
                component("probe", depends_on=depends_on),
            )
        )
        first = stopped(core.tell(StopAll()))
        assert "gateway-1" not in first
        assert "probe-1" in first
