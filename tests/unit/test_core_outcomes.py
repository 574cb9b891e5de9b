"""Every request is answered at once, acts once, and ends in one outcome."""

from __future__ import annotations

from contracts.messages import RestartRequest, ScaleRequest, StartRequest, StopRequest
from contracts.status import ReplicaState
from control_plane.core.effects import Conclude, SpawnHost
from control_plane.core.inputs import HostExited, StopAll
from tests.support.core_steps import Core, component

S = ReplicaState


def started(**fields: object) -> Core:
    core = Core(component("writer", **fields))
    core.wait(0)
    core.run("h1-1", "writer-1")
    return core


def outcomes(core: Core) -> list[tuple[str, str | None]]:
    """Return the requests that have ended, each with the code of its failure."""
    ends = [effect for effect in core.answers if isinstance(effect, Conclude)]
    return [(end.request_id, end.error["code"] if end.error else None) for end in ends]


def test_what_is_so_already_is_done_at_once() -> None:
    core = started()
    core.tell(StartRequest(component="writer", request_id="a"))
    assert outcomes(core) == [("a", None)]


def test_a_stop_is_done_when_the_replica_is_down() -> None:
    core = started()
    core.tell(StopRequest(component="writer", request_id="a"))
    core.move("h1-1", "writer-1", S.DRAINING)
    assert outcomes(core) == []
    core.move("h1-1", "writer-1", S.STOPPED)
    assert outcomes(core) == [("a", None)]


def test_a_restart_is_done_when_the_surge_replica_is_down_again() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a"))
    core.run("h1-2", "writer-2")
    core.move("h1-1", "writer-1", S.STOPPED)
    core.tell(HostExited("h1-1", 1, exit_code=0))
    core.run("h1-3", "writer-1")
    assert outcomes(core) == []
    core.move("h1-2", "writer-2", S.STOPPED)
    assert outcomes(core) == [("a", None)]


def test_a_start_in_the_middle_of_a_restart_is_done_at_once() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a"))
    core.tell(StartRequest(component="writer", request_id="b"))
    assert outcomes(core) == [("b", None)]


def test_the_same_id_twice_acts_once() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a", rolling=False))
    core.tell(RestartRequest(component="writer", request_id="a", rolling=False))
    assert core.state.desired.components["writer"].generation == 2
    assert core.answer is not None
    assert core.answer.accepted


def test_requests_that_name_no_id_are_not_taken_for_one() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", rolling=False))
    core.tell(RestartRequest(component="writer", rolling=False))
    assert core.state.desired.components["writer"].generation == 3


def test_what_fails_for_good_is_a_failed_request() -> None:
    core = started(restart={"max_restarts": 0})
    core.tell(ScaleRequest(component="writer", replicas=2, request_id="a"))
    core.beat("h1-2", {"writer-2": S.PENDING})
    core.move("h1-2", "writer-2", S.FAILED)
    assert outcomes(core) == [("a", "E3003")]


def test_what_is_not_done_by_its_deadline_has_failed_and_the_timer_knows() -> None:
    core = started()
    core.tell(ScaleRequest(component="writer", replicas=2, request_id="a", timeout_s=3))
    assert core.wake_at_s == core.now_s + 3
    core.wait(3)
    assert outcomes(core) == [("a", "E3004")]


def test_a_request_to_one_component_does_not_wait_for_anothers() -> None:
    core = Core(component("writer"), component("critic"))
    core.wait(0)
    core.run("h1-1", "writer-1")
    core.tell(StopRequest(component="writer", request_id="slow"))
    core.tell(StopRequest(component="critic", request_id="quick"))
    assert outcomes(core) == [("quick", None)]


def test_what_is_refused_has_no_outcome() -> None:
    core = started()
    core.tell(StopRequest(component="wirter", request_id="a"))
    assert core.answer is not None
    assert not core.answer.accepted
    assert core.state.open_requests == ()


def test_what_somebody_else_undid_meanwhile_has_failed() -> None:
    core = Core(component("writer"))
    core.wait(0)
    core.tell(StartRequest(component="writer", request_id="a"))
    core.tell(StopRequest(component="writer", request_id="b"))
    assert outcomes(core) == [("a", "E3003"), ("b", None)]


def test_a_restart_has_its_outcome_when_everything_stops() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a"))
    core.tell(StopAll())
    core.move("h1-1", "writer-1", S.STOPPED)
    assert outcomes(core) == [("a", "E3003")]


def test_scaling_up_tries_a_number_that_failed_as_a_surge_replica() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a"))
    core.beat("h1-2", {"writer-2": S.PENDING})
    core.move("h1-2", "writer-2", S.FAILED, permanent=True)
    core.tell(HostExited("h1-2", 1, exit_code=0))
    effects = core.tell(ScaleRequest(component="writer", replicas=2, request_id="b"))
    assert "writer-2" in [effect.key for effect in effects if isinstance(effect, SpawnHost)]


def test_what_waits_for_something_that_has_failed_has_failed_too() -> None:
    """It will not become so: nobody is told that it is done."""
    core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
    core.wait(0)
    core.beat("h1-2", {"writer-1": S.PENDING})
    core.beat("h1-1", {"outliner-1": S.PENDING})
    core.tell(StartRequest(component="writer", request_id="a"))
    assert outcomes(core) == []
    core.move("h1-1", "outliner-1", S.FAILED, permanent=True)
    assert outcomes(core) == [("a", "E3003")]
    assert "'writer-1': waits for outliner" in str(core.answers)


def test_what_has_finished_what_it_was_there_for_is_done() -> None:
    core = started()
    core.tell(HostExited("h1-1", 1, exit_code=0))
    core.tell(ScaleRequest(component="writer", replicas=1, request_id="a"))
    assert outcomes(core) == [("a", None)]


def test_a_late_request_is_still_wanted() -> None:
    core = started()
    core.tell(ScaleRequest(component="writer", replicas=2, request_id="a", timeout_s=3))
    core.wait(3)
    core.run("h1-2", "writer-2")
    assert core.replica("writer-2").state is S.READY
    assert outcomes(core) == [("a", "E3004")]


def test_two_requests_end_together_when_what_both_ask_for_is_so() -> None:
    core = started()
    core.tell(ScaleRequest(component="writer", replicas=3, request_id="a"))
    core.tell(ScaleRequest(component="writer", replicas=2, request_id="b"))
    assert outcomes(core) == []
    core.run("h1-2", "writer-2")
    core.tell(HostExited("h1-3", 1, exit_code=0))
    assert outcomes(core) == [("a", None), ("b", None)]


def test_a_restart_at_once_is_done_when_the_new_replica_is_ready() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a", rolling=False))
    core.move("h1-1", "writer-1", S.STOPPED)
    core.tell(HostExited("h1-1", 1, exit_code=0))
    assert outcomes(core) == []
    core.run("h1-2", "writer-1")
    assert outcomes(core) == [("a", None)]


def test_a_restart_is_done_at_once_where_the_surge_replica_was_not_needed() -> None:
    core = started()
    core.tell(RestartRequest(component="writer", request_id="a"))
    core.tell(HostExited("h1-1", 1, signal=9))
    core.run("h1-3", "writer-1")
    assert core.replica("writer-2").state is S.PENDING
    assert outcomes(core) == [("a", None)]
