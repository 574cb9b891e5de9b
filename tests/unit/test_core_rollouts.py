"""Replicas are replaced one by one behind a surge replica, and a faulty version takes nothing down."""

from __future__ import annotations

from contracts.messages import MoveRequest, RestartRequest, ScaleRequest, StartRequest, StopRequest
from contracts.specs import Mode
from contracts.status import ReplicaState
from control_plane.core.effects import Conclude, Effect, SendStart, SendStop, SpawnHost, StopHost
from control_plane.core.inputs import HostExited
from control_plane.core.status import component_statuses, is_ready
from tests.support.core_steps import Core, component

S = ReplicaState


def running(*, replicas: int = 1, mode: Mode = Mode.MULTI, **fields: object) -> Core:
    """Return a core in which every replica of `writer` is ready."""
    core = Core(component("writer", replicas=replicas, **fields), mode=mode)
    core.wait(0)
    hosts = dict(core.state.observed.hosts)
    for host_id, host in hosts.items():
        core.run(host_id, *host.replicas)
    return core


def restart(core: Core, **fields: object) -> tuple[Effect, ...]:
    return core.tell(RestartRequest(component="writer", request_id="r", **fields))


def word(core: Core) -> str:
    """Return the component's state as an operator sees it."""
    (status,) = component_statuses(core.state, now_s=core.now_s)
    return status.state


def shown(core: Core) -> dict[str, str]:
    (status,) = component_statuses(core.state, now_s=core.now_s)
    return {replica.id: replica.state for replica in status.replicas}


def replaced_but_for_the_surge(core: Core) -> Core:
    """Return the core when writer-2 stands in, and writer-1 was told to start anew in h1-3."""
    restart(core)
    core.run("h1-2", "writer-2")
    core.move("h1-1", "writer-1", S.STOPPED)
    core.tell(HostExited("h1-1", 1, exit_code=0))
    core.beat("h1-3", {"writer-1": S.PENDING})
    core.move("h1-3", "writer-1", S.STARTING)
    return core


class TestSurgeReplicas:
    def test_one_that_ends_by_itself_replaces_nobody_and_the_restart_says_so(self) -> None:
        core = running(restart={"policy": "on-failure"})
        restart(core)
        core.beat("h1-2", {"writer-2": S.PENDING})
        core.move("h1-2", "writer-2", S.STARTING)
        assert core.tell(HostExited("h1-2", 1, exit_code=0)) == ()
        assert core.replica("writer-2").finished
        assert core.replica("writer-1").state is S.READY
        (end,) = [effect for effect in core.answers if isinstance(effect, Conclude)]
        assert end.error is not None
        assert "it ended before it could stand in" in end.error["why"]
        assert "what ran before still runs" in end.error["why"]


class TestOneReplica:
    def test_a_surge_replica_is_made_before_anything_stops(self) -> None:
        core = running()
        assert restart(core) == (SpawnHost("h1-2", "writer-2", (("writer-2", "writer"),)),)
        assert core.replica("writer-1").state is S.READY

    def test_the_old_one_is_drained_when_the_surge_replica_is_ready_and_not_before(self) -> None:
        core = running()
        restart(core)
        core.beat("h1-2", {"writer-2": S.PENDING})
        assert core.move("h1-2", "writer-2", S.STARTING) == ()
        assert core.move("h1-2", "writer-2", S.READY) == (
            SendStop("writer-1", "writer", "h1-1", "1-3", 15.0),
        )

    def test_then_it_is_started_anew_in_a_new_process_and_the_surge_replica_is_drained(self) -> None:
        core = running()
        restart(core)
        core.run("h1-2", "writer-2")
        core.move("h1-1", "writer-1", S.DRAINING)
        assert core.move("h1-1", "writer-1", S.STOPPED) == (StopHost("h1-1"),)
        assert core.tell(HostExited("h1-1", 1, exit_code=0)) == (
            SpawnHost("h1-3", "writer-1", (("writer-1", "writer"),)),
        )
        core.beat("h1-3", {"writer-1": S.PENDING})
        (stop,) = core.move("h1-3", "writer-1", S.READY)
        assert isinstance(stop, SendStop)
        assert stop.replica == "writer-2"
        assert core.move("h1-2", "writer-2", S.STOPPED)[-1] == StopHost("h1-2")
        assert shown(core) == {"writer-1": "ready"}

    def test_a_surge_replica_that_is_not_well_replaces_nobody_who_is(self) -> None:
        core = running()
        restart(core)
        core.beat("h1-2", {"writer-2": S.PENDING})
        assert core.move("h1-2", "writer-2", S.DEGRADED) == ()
        assert core.replica("writer-1").command is None

    def test_the_component_is_called_ready_all_the_time(self) -> None:
        core = running()
        restart(core)
        assert (word(core), is_ready(core.state)) == ("ready", True)
        core.run("h1-2", "writer-2")
        core.move("h1-1", "writer-1", S.DRAINING)
        assert (word(core), is_ready(core.state)) == ("ready", True)

    def test_what_serves_nobody_is_replaced_at_once(self) -> None:
        core = Core(component("writer"))
        core.wait(0)
        core.beat("h1-1", {"writer-1": S.PENDING})
        core.move("h1-1", "writer-1", S.STARTING)
        assert [type(effect) for effect in restart(core)] == [SendStop]

    def test_at_once_stops_first(self) -> None:
        core = running()
        assert [type(effect) for effect in restart(core, rolling=False)] == [SendStop]

    def test_an_old_one_that_crashes_meanwhile_comes_back_new_without_counting_as_a_crash(self) -> None:
        core = running()
        restart(core)
        effects = core.tell(HostExited("h1-1", 1, signal=9))
        assert [type(effect) for effect in effects] == [SpawnHost]
        assert core.replica("writer-1").exits == ()

    def test_a_surge_replica_that_is_well_stays_until_its_successor_is(self) -> None:
        core = replaced_but_for_the_surge(running())
        assert core.move("h1-3", "writer-1", S.DEGRADED) == ()
        (stop,) = core.move("h1-3", "writer-1", S.READY)
        assert isinstance(stop, SendStop)
        assert stop.replica == "writer-2"

    def test_one_that_is_not_well_is_replaced_by_one_that_is_not_well_either(self) -> None:
        core = running()
        core.move("h1-1", "writer-1", S.DEGRADED)
        restart(core)
        core.beat("h1-2", {"writer-2": S.PENDING})
        assert [type(effect) for effect in core.move("h1-2", "writer-2", S.DEGRADED)] == [SendStop]

    def test_it_is_not_called_ready_when_nobody_serves_after_all(self) -> None:
        core = running()
        restart(core)
        core.tell(HostExited("h1-1", 1, signal=9))
        assert (word(core), is_ready(core.state)) == ("pending", False)

    def test_a_surge_replica_that_is_tried_again_leaves_the_old_one_alone(self) -> None:
        core = running()
        restart(core)
        core.tell(HostExited("h1-2", 1, signal=9))
        core.tell(HostExited("h1-3", 1, signal=9))
        assert shown(core) == {"writer-1": "ready", "writer-2": "backoff"}
        (spawn,) = core.wait(0.5)
        assert isinstance(spawn, SpawnHost)
        assert spawn.key == "writer-2"


class TestSeveralReplicas:
    def test_never_fewer_are_ready_than_are_wanted(self) -> None:
        core = running(replicas=3)
        restart(core)
        core.run("h1-4", "writer-4")
        for number in (1, 2, 3):
            stopping = [name for name, record in core.state.observed.replicas.items() if record.command]
            assert stopping == [f"writer-{number}"]
            core.move(f"h1-{number}", f"writer-{number}", S.STOPPED)
            core.tell(HostExited(f"h1-{number}", 1, exit_code=0))
            core.run(f"h1-{number + 4}", f"writer-{number}")
        stopping = [name for name, record in core.state.observed.replicas.items() if record.command]
        assert stopping == ["writer-4"]

    def test_scaling_in_the_middle_changes_how_many_there_are_in_the_end(self) -> None:
        core = running()
        restart(core)
        core.run("h1-2", "writer-2")
        core.tell(ScaleRequest(component="writer", replicas=2))
        assert core.replica("writer-2").state is S.READY  # no surge replica any more: it is wanted
        assert set(shown(core)) >= {"writer-1", "writer-2", "writer-3"}

    def test_scaling_down_in_the_middle_leaves_the_work_to_somebody(self) -> None:
        core = running(replicas=3)
        restart(core)
        core.tell(ScaleRequest(component="writer", replicas=1))
        assert [name for name, record in core.state.observed.replicas.items() if not record.command]

    def test_a_second_restart_in_the_middle_replaces_what_the_first_one_made(self) -> None:
        core = running()
        restart(core)
        core.run("h1-2", "writer-2")
        core.tell(RestartRequest(component="writer", request_id="again"))
        assert core.state.desired.components["writer"].generation == 3
        assert core.state.desired.components["writer"].rolling

    def test_a_stop_in_the_middle_stops_everything(self) -> None:
        core = running()
        restart(core)
        core.run("h1-2", "writer-2")
        effects = core.tell(StopRequest(component="writer"))
        assert [effect.replica for effect in effects if isinstance(effect, SendStop)] == ["writer-2"]
        core.move("h1-1", "writer-1", S.STOPPED)
        core.move("h1-2", "writer-2", S.STOPPED)
        assert shown(core) == {"writer-1": "stopped"}

    def test_scaling_down_in_the_middle_ends_with_new_ones_only(self) -> None:
        core = running(replicas=3)
        restart(core)
        core.tell(ScaleRequest(component="writer", replicas=1))
        assert core.replica("writer-2").command is None  # it is the surge replica now
        core.move("h1-1", "writer-1", S.STOPPED)
        core.tell(HostExited("h1-1", 1, exit_code=0))
        core.run("h1-5", "writer-1")
        assert core.replica("writer-2").command is not None

    def test_scaling_to_nothing_in_the_middle_stops_everything(self) -> None:
        core = running()
        restart(core)
        core.run("h1-2", "writer-2")
        core.tell(ScaleRequest(component="writer", replicas=0))
        core.move("h1-1", "writer-1", S.STOPPED)
        core.move("h1-2", "writer-2", S.STOPPED)
        assert shown(core) == {}
        assert not core.state.desired.components["writer"].rolling

    def test_a_start_in_the_middle_changes_nothing(self) -> None:
        core = running()
        restart(core)
        assert core.tell(StartRequest(component="writer")) == ()
        assert core.state.desired.components["writer"].rolling

    def test_a_restart_at_once_in_the_middle_stops_whatever_runs(self) -> None:
        core = running()
        restart(core)
        core.run("h1-2", "writer-2")
        effects = core.tell(RestartRequest(component="writer", rolling=False))
        assert [effect.replica for effect in effects if isinstance(effect, SendStop)] == ["writer-2"]
        assert core.replica("writer-1").command is not None


class TestFaultyVersion:
    def broken(self) -> tuple[Core, tuple[Effect, ...]]:
        core = running()
        restart(core)
        core.beat("h1-2", {"writer-2": S.PENDING})
        core.move("h1-2", "writer-2", S.STARTING)
        return core, core.move("h1-2", "writer-2", S.FAILED, permanent=True)

    def test_the_old_replica_stays(self) -> None:
        core, effects = self.broken()
        assert effects == (StopHost("h1-2"),)
        core.tell(HostExited("h1-2", 1, exit_code=0))
        assert core.wait(10) == ()
        assert shown(core) == {"writer-1": "ready", "writer-2": "failed"}
        assert (word(core), is_ready(core.state)) == ("ready", True)

    def test_the_request_fails_with_the_reason(self) -> None:
        core = running()
        restart(core)
        core.beat("h1-2", {"writer-2": S.PENDING})
        core.move("h1-2", "writer-2", S.FAILED, permanent=True)
        (end,) = [answer for answer in core.answers if isinstance(answer, Conclude)]
        assert end.error is not None
        assert end.error["code"] == "E3003"
        assert "'writer-2'" in end.error["why"]
        assert "what ran before still runs" in end.error["why"]

    def test_a_surge_replica_that_serves_stays_where_the_old_one_does_not_come_back(self) -> None:
        """Otherwise a version that starts once and then never again would take everything down."""
        core = running()
        restart(core)
        core.run("h1-2", "writer-2")
        core.move("h1-1", "writer-1", S.STOPPED)
        core.tell(HostExited("h1-1", 1, exit_code=0))
        core.beat("h1-3", {"writer-1": S.PENDING})
        effects = core.move("h1-3", "writer-1", S.FAILED, permanent=True)
        assert not [effect for effect in effects if isinstance(effect, SendStop)]
        assert shown(core) == {"writer-1": "failed", "writer-2": "ready"}

    def test_a_surge_replica_that_stands_in_goes_when_the_failed_one_was_started_and_is_ready(self) -> None:
        core = replaced_but_for_the_surge(running())
        core.move("h1-3", "writer-1", S.FAILED, permanent=True)
        core.tell(HostExited("h1-3", 1, exit_code=0))
        core.tell(StartRequest(component="writer"))
        (stop,) = core.run("h1-4", "writer-1")
        assert isinstance(stop, SendStop)
        assert stop.replica == "writer-2"

    def test_what_was_replaced_before_the_failure_is_replaced_again_by_the_next_restart(self) -> None:
        core = running(replicas=2)
        restart(core)
        core.run("h1-3", "writer-3")
        core.move("h1-1", "writer-1", S.STOPPED)
        core.tell(HostExited("h1-1", 1, exit_code=0))
        core.beat("h1-4", {"writer-1": S.PENDING})
        core.move("h1-4", "writer-1", S.FAILED, permanent=True)
        core.tell(HostExited("h1-4", 1, exit_code=0))
        core.tell(RestartRequest(component="writer", request_id="again"))
        known = core.state.observed.replicas
        generation = core.state.desired.components["writer"].generation
        assert all(record.generation < generation for record in known.values() if record.state is S.READY)

    def test_a_move_that_failed_can_be_tried_again(self) -> None:
        core = Core(component("writer"), component("critic", group="agents"))
        core.wait(0)
        core.run("h1-1", "writer-1")
        core.run("h1-2", "critic-1")
        core.tell(MoveRequest(component="writer", to="agents", request_id="a"))
        core.beat("h1-3", {"writer-2": S.PENDING})
        core.move("h1-3", "writer-2", S.FAILED, permanent=True)
        core.tell(HostExited("h1-3", 1, exit_code=0))
        (spawn,) = core.tell(MoveRequest(component="writer", to="agents", request_id="b"))
        assert isinstance(spawn, SpawnHost)
        assert spawn.key == "group.agents"

    def test_the_next_restart_tries_again(self) -> None:
        core, _ = self.broken()
        core.tell(HostExited("h1-2", 1, exit_code=0))
        (spawn,) = core.tell(RestartRequest(component="writer", request_id="again"))
        assert isinstance(spawn, SpawnHost)
        assert spawn.key == "writer-2"


class TestDependencies:
    def test_a_restart_of_what_waits_for_a_failed_dependency_ends(self) -> None:
        core = Core(
            component("outliner"),
            component("writer", depends_on=("outliner",), on_dependency_failure="wait"),
        )
        core.wait(0)
        core.run("h1-1", "outliner-1")
        core.run("h1-2", "writer-1")
        restart(core)
        core.move("h1-1", "outliner-1", S.FAILED, permanent=True)
        assert core.state.desired.components["writer"].rolling
        core.move("h1-2", "writer-1", S.STOPPED)
        assert not core.state.desired.components["writer"].rolling
        assert core.state.open_requests == ()


class TestSharedHosts:
    def test_in_single_mode_the_surge_replica_starts_in_the_same_process(self) -> None:
        core = running(mode=Mode.SINGLE)
        assert restart(core) == (SendStart("writer-2", "writer", "h1-1", "1-2"),)
        core.move("h1-1", "writer-2", S.STARTING)
        assert [type(effect) for effect in core.move("h1-1", "writer-2", S.READY)] == [SendStop]

    def test_in_a_group_of_one_component_too(self) -> None:
        core = running(mode=Mode.HYBRID, group="agents")
        (start,) = restart(core)
        assert isinstance(start, SendStart)
        assert (start.replica, start.host) == ("writer-2", "h1-1")

    def test_a_neighbour_in_the_group_is_left_alone(self) -> None:
        core = Core(component("writer", group="g"), component("critic", group="g"), mode=Mode.HYBRID)
        core.wait(0)
        core.run("h1-1", "writer-1", "critic-1")
        restart(core)
        core.move("h1-1", "writer-2", S.READY)
        (start,) = core.move("h1-1", "writer-1", S.STOPPED)
        assert isinstance(start, SendStart)
        assert (start.replica, start.host) == ("writer-1", "h1-1")
        (stop,) = core.move("h1-1", "writer-1", S.READY)
        assert isinstance(stop, SendStop)
        assert core.move("h1-1", "writer-2", S.STOPPED) == ()
        assert core.replica("critic-1").state is S.READY

    def test_a_host_in_which_replicas_were_replaced_goes_on_to_be_used(self) -> None:
        core = running(mode=Mode.HYBRID, group="agents")
        restart(core)
        core.move("h1-1", "writer-2", S.READY)
        core.move("h1-1", "writer-1", S.STOPPED)
        core.move("h1-1", "writer-1", S.READY)
        core.move("h1-1", "writer-2", S.STOPPED)
        core.move("h1-1", "writer-1", S.FAILED)
        assert core.replica("writer-1").state is S.STARTING


class TestMoves:
    def moved(self, to: str, *, mode: Mode = Mode.MULTI) -> tuple[Core, tuple[Effect, ...]]:
        core = Core(component("writer"), component("critic", group="agents"), mode=mode)
        core.wait(0)
        for host_id, host in dict(core.state.observed.hosts).items():
            core.run(host_id, *host.replicas)
        return core, core.tell(MoveRequest(component="writer", to=to, request_id="m"))

    def test_into_a_group_the_surge_replica_starts_where_the_component_has_to_be_introduced(self) -> None:
        core, effects = self.moved("agents", mode=Mode.HYBRID)
        assert effects == (SendStart("writer-2", "writer", "h1-2", "1-3", "critic"),)
        core.move("h1-2", "writer-2", S.STARTING)
        core.beat("h1-2", {"critic-1": S.READY, "writer-2": S.READY})
        core.move("h1-1", "writer-1", S.STOPPED)
        assert core.replica("writer-1").host == "h1-2"
        core.beat("h1-2", {"critic-1": S.READY, "writer-2": S.READY, "writer-1": S.READY})
        assert core.replica("writer-2").command is not None

    def test_once_the_host_knows_the_component_its_own_commands_reach_it(self) -> None:
        core, _ = self.moved("agents", mode=Mode.HYBRID)
        core.beat("h1-2", {"critic-1": S.READY, "writer-2": S.READY})
        effects = core.move("h1-1", "writer-1", S.STOPPED)
        (start,) = [effect for effect in effects if isinstance(effect, SendStart)]
        assert start.via == ""

    def test_in_multi_mode_a_group_gets_a_host_of_its_own(self) -> None:
        _, effects = self.moved("agents")
        assert effects == (SpawnHost("h1-3", "group.agents", (("writer-2", "writer"),)),)

    def test_the_place_it_has_is_no_move(self) -> None:
        _, effects = self.moved("isolated")
        assert effects == ()

    def test_what_cannot_be_is_refused_with_the_reason(self) -> None:
        cases = (
            ("writer", "agent", Mode.MULTI, "Did you mean 'agents'?"),
            ("writer", "isolated", Mode.SINGLE, "one process"),
            ("gateway", "agents", Mode.MULTI, "public socket"),
        )
        for name, to, mode, said in cases:
            core = Core(component("writer"), component("gateway"), component("a", group="agents"), mode=mode)
            core.tell(MoveRequest(component=name, to=to))
            assert core.answer is not None
            assert core.answer.error is not None
            assert core.answer.error["code"] == "E3008"
            assert said in f"{core.answer.error['why']} {core.answer.error['fix']}"

    def test_a_component_that_is_stopped_starts_in_its_new_place(self) -> None:
        core = Core(component("writer"), component("critic", group="agents"), mode=Mode.HYBRID)
        core.tell(StopRequest(component="writer"))
        core.run("h1-1", "critic-1")
        core.tell(MoveRequest(component="writer", to="agents"))
        (start,) = core.tell(StartRequest(component="writer"))
        assert isinstance(start, SendStart)
        assert start.host == "h1-1"
