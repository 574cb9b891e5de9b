"""What outlives a control plane: what operators wanted, and the crash histories."""

from __future__ import annotations

import json

from contracts.messages import MoveRequest, RestartRequest, ScaleRequest, StopRequest
from contracts.specs import Settings
from contracts.status import ReplicaState
from control_plane.core.effects import SendStart, SendStop, SpawnHost, StopHost
from control_plane.core.inputs import HostExited, HostSpawned, SpawnFailed
from control_plane.core.memory import Memory, recalled, remembered
from control_plane.core.reducer import reduce
from control_plane.core.state import initial_state
from tests.support.core_steps import Core, component

S = ReplicaState


def started(**fields: object) -> Core:
    core = Core(component("writer", **fields), component("critic", group="agents"))
    core.wait(0)
    core.run("h1-1", "writer-1")
    core.run("h1-2", "critic-1")
    return core


def taken_over(core: Core) -> Core:
    """Return the core of the next control plane, which knows its hosts and has heard nothing of them yet."""
    memory = Memory.from_json(json.loads(json.dumps(remembered(core.state).as_json())))
    specs = [wanted.spec for wanted in core.state.desired.components.values()]
    after = Core(*specs, epoch=2)
    settings = Settings(components={spec.name: spec for spec in specs})
    after.state = recalled(initial_state(settings, core.state.desired.mode, epoch=2), memory)
    after.now_s = core.now_s
    for host_id, host in core.state.observed.hosts.items():
        given = tuple((name, core.replica(name).component) for name in host.replicas)
        adopted = HostSpawned(host_id, 1, given, host.key)
        after.state, _ = reduce(after.state, adopted, now_s=after.now_s)
    after.wait(0)
    return after


def test_a_first_launch_remembers_nothing() -> None:
    assert Memory.from_json({}) == Memory()
    core = Core(component("writer"))
    assert recalled(core.state, Memory()) == core.state


def test_what_was_stopped_scaled_and_moved_stays_so() -> None:
    core = started()
    core.tell(StopRequest(component="critic"))
    core.tell(ScaleRequest(component="writer", replicas=3))
    core.tell(MoveRequest(component="writer", to="agents"))
    wanted = taken_over(core).state.desired.components
    assert not wanted["critic"].running
    assert wanted["writer"].replicas == 3
    assert wanted["writer"].place == "agents"


def test_what_had_failed_is_not_started_again() -> None:
    core = started(restart={"max_restarts": 0})
    core.move("h1-1", "writer-1", S.FAILED)
    after = taken_over(core)
    assert after.beat("h1-1", {"writer-1": S.FAILED}) == (StopHost("h1-1"),)
    assert after.replica("writer-1").state is S.FAILED
    assert "crash loop" in (after.replica("writer-1").reason or "")


def test_a_countdown_goes_on() -> None:
    core = started(restart={"backoff_s": 8})
    for _ in range(2):
        core.tell(HostExited(core.replica("writer-1").host or "", 1, signal=9))
        core.now_s += 1
    due_s = core.replica("writer-1").retry_at_s
    assert due_s is not None
    after = taken_over(core)
    assert after.replica("writer-1").state is S.BACKOFF
    assert after.wake_at_s == due_s


def test_crashes_before_and_after_count_together() -> None:
    core = started(restart={"max_restarts": 1})
    core.tell(HostExited("h1-1", 1, signal=9))
    core.run("h1-3", "writer-1")
    after = taken_over(core)
    after.beat("h1-3", {"writer-1": S.READY})
    after.tell(HostExited("h1-3", 1, signal=9))
    assert after.replica("writer-1").state is S.FAILED


def test_what_is_shown_of_a_replica_is_the_same_before_and_after() -> None:
    core = started(restart={"max_restarts": 1})
    core.tell(HostExited("h1-1", 1, signal=9))
    core.tell(SpawnFailed("h1-3", {"what": "no memory"}))
    before, after = core.replica("writer-1"), taken_over(core).replica("writer-1")
    assert after.state is S.FAILED
    assert after.error == {"what": "no memory"}
    assert (after.restarts, after.reason) == (before.restarts, before.reason) == (1, before.reason)


def test_what_had_finished_is_not_started_again() -> None:
    core = started()
    core.tell(HostExited("h1-1", 1, exit_code=0))
    after = taken_over(core)
    assert after.beat("h1-2", {"critic-1": S.READY}) == ()
    assert after.replica("writer-1").finished


def test_a_restart_goes_on_where_it_was() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a"))
    core.run("h1-3", "writer-2")
    after = taken_over(core)
    after.beat("h1-1", {"writer-1": S.READY})
    (stop,) = after.beat("h1-3", {"writer-2": S.READY})
    assert stop.replica == "writer-1"
    assert [request.id for request in after.state.open_requests] == ["a"]


def test_the_same_request_told_to_both_control_planes_acts_once() -> None:
    core = started()
    core.tell(ScaleRequest(component="writer", replicas=2, request_id="a"))
    after = taken_over(core)
    after.tell(ScaleRequest(component="writer", replicas=1))
    after.tell(ScaleRequest(component="writer", replicas=2, request_id="a"))
    assert after.state.desired.components["writer"].replicas == 1


def test_a_host_that_has_not_spoken_yet_is_not_ended_although_nothing_it_was_made_with_is_wanted() -> None:
    """It may have taken in more since it was made."""
    core = Core(component("writer"), component("critic", group="agents"), epoch=2)
    core.tell(HostSpawned("h1-7", 1, (("critic-2", "critic"),), "critic-1"))
    assert all(effect.host != "h1-7" for effect in core.wait(1))
    core.beat("h1-7", {"critic-1": S.READY})
    assert core.replica("critic-1").host == "h1-7"


def test_requests_to_what_is_not_declared_any_more_are_forgotten() -> None:
    core = started()
    core.tell(ScaleRequest(component="critic", replicas=2, request_id="a"))
    after = Core(component("writer"), epoch=2)
    after.state = recalled(after.state, remembered(core.state))
    after.wait(1)
    assert after.state.open_requests == ()


def test_nothing_is_called_done_before_those_that_were_taken_over_have_spoken() -> None:
    core = started()
    core.tell(StopRequest(component="writer", request_id="a"))
    after = taken_over(core)
    assert [request.id for request in after.state.open_requests] == ["a"]
    after.beat("h1-2", {"critic-1": S.READY})
    after.beat("h1-1", {"writer-1": S.DRAINING})
    assert [request.id for request in after.state.open_requests] == ["a"]
    after.move("h1-1", "writer-1", S.STOPPED)
    assert after.state.open_requests == ()


def test_a_restart_that_goes_on_after_a_takeover_replaces_the_process_too() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a"))
    core.run("h1-3", "writer-2")
    after = taken_over(core)
    after.beat("h1-2", {"critic-1": S.READY})
    after.beat("h1-1", {"writer-1": S.READY})
    after.beat("h1-3", {"writer-2": S.READY})
    assert after.move("h1-1", "writer-1", S.STOPPED) == (StopHost("h1-1"),)


def test_no_epoch_comes_back_although_a_takeover_spawned_nothing_and_the_bus_was_emptied() -> None:
    """Commands are known by their ids, and those begin with the epoch."""
    memory = Memory.from_json(remembered(taken_over(started()).state).as_json())
    assert memory.epoch == 2


def test_a_restart_right_after_a_takeover_is_rolling_too() -> None:
    after = taken_over(started())
    effects = after.tell(RestartRequest(component="writer", request_id="a"))
    assert not [effect for effect in effects if isinstance(effect, SendStop)]
    assert after.state.desired.components["writer"].rolling


class TestUnheard:
    """A host that was taken over is asked what runs in it; until it has said so, anything may."""

    def test_what_may_run_is_not_started_elsewhere_by_a_move(self) -> None:
        after = taken_over(started())
        assert after.tell(MoveRequest(component="writer", to="agents")) == (
            SpawnHost("h2-1", "group.agents", (("writer-2", "writer"),)),
        )
        after.run("h2-1", "writer-2")
        assert after.replica("writer-1").host == "h1-1"
        (stop,) = after.beat("h1-1", {"writer-1": S.READY})
        assert isinstance(stop, SendStop)
        assert (stop.replica, stop.host) == ("writer-1", "h1-1")

    def test_what_the_host_took_in_since_it_was_made_is_its_own(self) -> None:
        core = Core(component("writer"), component("critic", group="agents"), epoch=2)
        core.tell(HostSpawned("h1-7", 1, (("critic-1", "critic"),), "group.agents"))
        core.beat("h1-7", {"critic-1": S.READY, "writer-9": S.READY})
        core.move("h1-7", "writer-9", S.DRAINING)
        assert core.replica("writer-9").state is S.DRAINING

    def test_what_did_not_run_is_started_where_it_was(self) -> None:
        after = taken_over(started())
        effects = after.beat("h1-1", {"writer-1": S.PENDING})
        assert [effect.replica for effect in effects if isinstance(effect, SendStart)] == ["writer-1"]

    def test_a_restart_that_a_failed_dependency_would_end_goes_on_until_its_hosts_have_spoken(self) -> None:
        core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
        core.wait(0)
        core.run("h1-1", "outliner-1")
        core.run("h1-2", "writer-1")
        core.tell(RestartRequest(component="writer", request_id="a"))
        assert taken_over(core).state.desired.components["writer"].rolling
