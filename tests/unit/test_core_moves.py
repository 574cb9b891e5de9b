"""A component is moved to another process while it serves: its replicas are replaced one by one, there."""

from __future__ import annotations

import pytest

from contracts.messages import MoveRequest, StartRequest, StopRequest
from contracts.specs import Mode
from contracts.status import ReplicaState
from control_plane.core.effects import Conclude, Effect, SendStart, SendStop, SpawnHost, StopHost
from control_plane.core.inputs import HostExited, StopAll
from control_plane.core.status import component_statuses, is_ready
from tests.support.core_steps import Core, component

S = ReplicaState


def grouped(*, replicas: int = 1) -> Core:
    """Return a core in hybrid mode: writer and critic ready in h1-1, the gateway in h1-2."""
    core = Core(
        component("writer", group="agents", replicas=replicas),
        component("critic", group="agents"),
        component("gateway"),
        mode=Mode.HYBRID,
    )
    core.wait(0)
    for host_id, host in dict(core.state.observed.hosts).items():
        core.run(host_id, *host.replicas)
    return core


def move(core: Core, to: str, name: str = "writer") -> tuple[Effect, ...]:
    return core.tell(MoveRequest(component=name, to=to, request_id=f"{name} to {to}"))


def refusal(core: Core) -> str:
    """Return code, reason and advice of the last answer, a refusal."""
    assert core.answer is not None
    assert core.answer.error is not None
    return " ".join(str(core.answer.error[part]) for part in ("code", "what", "why", "fix"))


class TestOutOfAGroup:
    def test_the_surge_replica_gets_a_process_and_the_old_one_serves_until_it_is_ready(self) -> None:
        core = grouped()
        assert move(core, "isolated") == (SpawnHost("h1-3", "writer-2", (("writer-2", "writer"),)),)
        (stop,) = core.run("h1-3", "writer-2")
        assert isinstance(stop, SendStop)
        assert (stop.replica, stop.host) == ("writer-1", "h1-1")

    def test_the_old_id_comes_back_in_a_process_of_its_own_and_the_group_stays(self) -> None:
        core = grouped()
        move(core, "isolated")
        core.run("h1-3", "writer-2")
        assert core.move("h1-1", "writer-1", S.STOPPED) == (
            SpawnHost("h1-4", "writer-1", (("writer-1", "writer"),)),
        )
        core.run("h1-4", "writer-1")
        assert core.move("h1-3", "writer-2", S.STOPPED) == (StopHost("h1-3"),)
        assert core.replica("critic-1").state is S.READY
        assert core.replica("writer-1").host == "h1-4"

    def test_a_crash_of_the_group_no_longer_concerns_it(self) -> None:
        core = grouped()
        move(core, "isolated")
        core.run("h1-3", "writer-2")
        core.move("h1-1", "writer-1", S.STOPPED)
        core.run("h1-4", "writer-1")
        core.move("h1-3", "writer-2", S.STOPPED)
        effects = core.tell(HostExited("h1-1", 1, signal=9))
        assert effects == (SpawnHost("h1-5", "group.agents", (("critic-1", "critic"),)),)
        assert core.replica("writer-1").state is S.READY

    def test_several_replicas_get_a_process_each(self) -> None:
        core = grouped(replicas=2)
        move(core, "isolated")
        core.run("h1-3", "writer-3")
        for number in (1, 2):
            (spawn, *_) = core.move("h1-1", f"writer-{number}", S.STOPPED)
            assert isinstance(spawn, SpawnHost)
            assert spawn.key == f"writer-{number}"
            core.run(spawn.host, f"writer-{number}")
        assert core.replica("writer-3").command is not None

    def test_the_application_is_ready_all_the_time_and_the_request_is_done_in_the_end(self) -> None:
        core = grouped()
        move(core, "isolated")
        core.run("h1-3", "writer-2")
        core.move("h1-1", "writer-1", S.STOPPED)
        assert is_ready(core.state)
        core.run("h1-4", "writer-1")
        assert [effect for effect in core.answers if isinstance(effect, Conclude)] == []
        core.move("h1-3", "writer-2", S.STOPPED)
        assert core.answers[-1] == Conclude("writer to isolated", "move", "writer")

    def test_a_new_process_that_fails_for_good_leaves_the_old_replica_where_it_is(self) -> None:
        core = grouped()
        move(core, "isolated")
        core.beat("h1-3", {"writer-2": S.PENDING})
        assert core.move("h1-3", "writer-2", S.FAILED, permanent=True) == (StopHost("h1-3"),)
        assert core.tell(HostExited("h1-3", 1, exit_code=0)) == ()
        assert (core.replica("writer-1").state, core.replica("writer-1").host) == (S.READY, "h1-1")


class TestIntoAGroup:
    def test_back_in_the_middle_of_a_move_ends_where_it_was(self) -> None:
        core = grouped()
        move(core, "isolated")
        core.run("h1-3", "writer-2")
        core.move("h1-1", "writer-1", S.DRAINING)
        move(core, "agents")
        core.move("h1-1", "writer-1", S.STOPPED)
        core.beat("h1-1", {"writer-1": S.READY, "critic-1": S.READY})
        core.move("h1-3", "writer-2", S.STOPPED)
        core.tell(HostExited("h1-3", 1, exit_code=0))
        assert core.replica("writer-1").host == "h1-1"
        assert not core.state.desired.components["writer"].rolling
        assert is_ready(core.state)

    def test_a_host_that_is_made_anew_holds_whoever_was_moved_there(self) -> None:
        """And follows its commands, so that nobody has to introduce it."""
        core = Core(component("writer"), component("critic", group="agents"), mode=Mode.HYBRID)
        core.wait(0)
        core.run("h1-1", "writer-1")
        core.run("h1-2", "critic-1")
        move(core, "agents")
        (spawn,) = core.tell(HostExited("h1-2", 1, signal=9))
        assert isinstance(spawn, SpawnHost)
        assert {component for _, component in spawn.replicas} == {"writer", "critic"}
        effects = core.beat("h1-3", {"writer-2": S.PENDING, "critic-1": S.PENDING})
        assert [effect.via for effect in effects if isinstance(effect, SendStart)] == ["", ""]

    def test_what_does_not_run_is_moved_without_being_started(self) -> None:
        core = Core(component("writer"), component("critic", group="agents"))
        core.tell(StopRequest(component="writer"))
        assert move(core, "agents") == ()
        assert core.answers[-1] == Conclude("writer to agents", "move", "writer")
        assert component_statuses(core.state, now_s=core.now_s)[0].desired == "stopped"
        (spawn,) = core.tell(StartRequest(component="writer"))
        assert isinstance(spawn, SpawnHost)
        assert spawn.key == "group.agents"

    def test_the_process_that_it_leaves_ends(self) -> None:
        core = Core(component("writer"), component("critic", group="agents"), mode=Mode.HYBRID)
        core.wait(0)
        core.run("h1-1", "writer-1")
        core.run("h1-2", "critic-1")
        move(core, "agents")
        core.move("h1-2", "writer-2", S.READY)
        left, start = core.move("h1-1", "writer-1", S.STOPPED)
        assert left == StopHost("h1-1")
        assert isinstance(start, SendStart)
        assert start.host == "h1-2"

    def test_what_is_being_stopped_is_not_replaced_one_by_one(self) -> None:
        core = grouped()
        core.tell(StopRequest(component="writer"))
        assert move(core, "isolated") == ()
        assert not core.state.desired.components["writer"].rolling


class TestRefusals:
    def test_single_mode_has_one_process(self) -> None:
        core = Core(component("writer"), mode=Mode.SINGLE)
        assert move(core, "isolated") == (SpawnHost("h1-1", "local", (("writer-1", "writer"),)),)
        assert refusal(core).startswith("E3008")
        assert "--mode multi or hybrid" in refusal(core)

    def test_the_gateway_keeps_to_itself(self) -> None:
        core = grouped()
        assert move(core, "agents", "gateway") == ()
        assert "E3008 component 'gateway' cannot be moved to 'agents'" in refusal(core)
        move(core, "isolated", "gateway")
        assert core.answer is not None
        assert core.answer.accepted

    def test_an_unknown_group_is_refused_with_the_near_miss(self) -> None:
        core = grouped()
        move(core, "agnets")
        assert "there is no group 'agnets'" in refusal(core)
        assert "Did you mean 'agents'?" in refusal(core)

    def test_what_was_refused_changed_nothing(self) -> None:
        core = grouped()
        before = core.state
        move(core, "agnets")
        assert core.state == before

    @pytest.mark.parametrize(("name", "code"), [("wirter", "E3002"), ("writer", "E3007")])
    def test_other_refusals_are_those_of_any_request(self, name: str, code: str) -> None:
        core = grouped()
        core.tell(StopAll())
        move(core, "isolated", name)
        assert refusal(core).startswith(code)

    @pytest.mark.parametrize("to", ["agents", "isolated"])
    def test_the_place_where_it_is_is_no_move(self, to: str) -> None:
        core = grouped()
        name = "writer" if to == "agents" else "gateway"
        assert move(core, to, name) == ()
        assert core.state.desired.components[name].generation == 1
        assert core.answers[-1] == Conclude(f"{name} to {to}", "move", name)
