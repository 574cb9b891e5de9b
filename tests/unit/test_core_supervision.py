"""What the core does about starts, stops, crashes, silence and operators, one history at a time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from contracts.messages import (
    CommandCompleted,
    CommandFailed,
    HostHeartbeat,
    HostStopping,
    LoopBlocked,
    RestartRequest,
    ScaleRequest,
    StartRequest,
    StopRequest,
)
from contracts.specs import Mode
from contracts.status import Health, ReplicaReport, ReplicaState
from control_plane.core.effects import KillHost, SendStart, SendStop, SpawnHost, StopHost
from control_plane.core.inputs import (
    BusLost,
    BusRecovered,
    HostDelayed,
    HostExited,
    HostSpared,
    HostSpawned,
    SpawnFailed,
    StopAll,
    TimePassed,
)
from control_plane.core.reconciler import concerns_plan
from control_plane.core.reducer import reduce
from control_plane.core.status import component_statuses, is_ready, is_settled, is_stopped
from tests.support.core_steps import Core, component

S = ReplicaState


def started(*, policy: str = "on-failure", max_restarts: int = 2, **fields: object) -> Core:
    """Return a core with one ready replica, writer-1 in host h1-1."""
    restart = {"policy": policy, "max_restarts": max_restarts}
    core = Core(component("writer", restart=restart, **fields))
    core.wait(0)
    core.run("h1-1", "writer-1")
    return core


def reason_of(core: Core) -> str | None:
    """Return what is said of the only replica."""
    (component,) = component_statuses(core.state, now_s=core.now_s)
    return component.replicas[0].reason


class TestStarting:
    """Hosts at once, replicas in the order of their dependencies."""

    def test_every_host_is_spawned_at_once(self) -> None:
        core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
        assert core.wait(0) == (
            SpawnHost("h1-1", "outliner-1", (("outliner-1", "outliner"),)),
            SpawnHost("h1-2", "writer-1", (("writer-1", "writer"),)),
        )

    def test_a_replica_waits_for_its_host_and_then_for_its_dependencies(self) -> None:
        core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
        core.wait(0)
        assert core.beat("h1-2", {"writer-1": S.PENDING}) == ()
        assert core.beat("h1-1", {"outliner-1": S.PENDING}) == (
            SendStart("outliner-1", "outliner", "h1-1", "1-1"),
        )
        assert core.move("h1-1", "outliner-1", S.STARTING) == ()
        assert core.move("h1-1", "outliner-1", S.READY) == (SendStart("writer-1", "writer", "h1-2", "1-2"),)

    def test_a_dependency_that_goes_down_later_stops_nobody(self) -> None:
        core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
        core.wait(0)
        core.beat("h1-2", {"writer-1": S.PENDING})
        core.run("h1-1", "outliner-1")
        core.move("h1-2", "writer-1", S.READY)
        effects = core.tell(HostExited("h1-1", 1, signal=9))
        assert [type(effect) for effect in effects] == [SpawnHost]
        assert core.replica("writer-1").state is S.READY

    def test_a_lost_start_is_sent_again_under_its_id(self) -> None:
        core = Core(component("writer"))
        core.wait(0)
        (first,) = core.beat("h1-1", {"writer-1": S.PENDING})
        core.now_s += 4
        assert core.beat("h1-1", {"writer-1": S.PENDING}) == ()
        assert core.wait(1) == (first,)

    def test_a_heartbeat_written_before_the_start_arrived_is_no_failure(self) -> None:
        core = started()
        core.move("h1-1", "writer-1", S.FAILED)
        core.beat("h1-1", {"writer-1": S.FAILED})
        assert core.replica("writer-1").state is S.STARTING
        assert core.replica("writer-1").restarts == 1

    def test_a_start_that_hangs_costs_the_process_its_life(self) -> None:
        core = Core(component("writer", startup_timeout_s=10))
        core.wait(0)
        core.beat("h1-1", {"writer-1": S.PENDING})
        for _ in range(7):
            core.now_s += 2
            core.beat("h1-1", {"writer-1": S.STARTING})
        assert core.wake_at_s == 15.0
        assert core.wait(1) == (KillHost("h1-1", "its replica was not ready in time"),)

    def test_a_host_that_never_comes_up_is_killed_and_its_exit_counts(self) -> None:
        core = Core(component("writer", startup_timeout_s=10, restart={"max_restarts": 0}))
        core.wait(0)
        assert core.wait(10) == (KillHost("h1-1", "it sent no heartbeat in time"),)
        assert core.tell(HostExited("h1-1", 1, signal=9)) == ()
        assert core.replica("writer-1").state is S.FAILED

    def test_a_spawn_that_fails_again_and_again_is_given_up_with_its_error(self) -> None:
        core = Core(component("writer", restart={"max_restarts": 1}))
        core.wait(0)
        assert core.tell(SpawnFailed("h1-1", {"what": "no memory"})) == (
            SpawnHost("h1-2", "writer-1", (("writer-1", "writer"),)),
        )
        assert core.tell(SpawnFailed("h1-2", {"what": "no memory"})) == ()
        assert core.replica("writer-1").error == {"what": "no memory"}
        assert is_settled(core.state)

    def test_what_a_host_waits_for_is_said_until_it_starts(self) -> None:
        core = Core(component("writer"))
        core.wait(0)
        core.tell(HostDelayed("h1-1", "importing 'writer' takes long"))
        assert reason_of(core) == "importing 'writer' takes long"

        core.tell(HostSpawned("h1-1", 7, (("writer-1", "writer"),)))
        assert reason_of(core) is None
        before = core.state
        core.tell(HostDelayed("h0-9", "of a control plane before this one"))
        assert core.state is before

    def test_why_no_process_could_be_made_is_part_of_the_reason(self) -> None:
        core = Core(component("writer", restart={"max_restarts": 0}))
        core.wait(0)
        core.tell(SpawnFailed("h1-1", {"what": "no process", "why": "no memory"}))
        assert (core.replica("writer-1").reason or "").startswith("no process: no memory")

    def test_what_waits_for_a_failed_dependency_is_settled_and_says_so(self) -> None:
        core = Core(
            component("outliner"),
            component("writer", depends_on=("outliner",)),
            component("critic", depends_on=("writer",)),
            component("rewriter", depends_on=("critic",)),
        )
        core.wait(0)
        core.beat("h1-2", {"writer-1": S.PENDING})
        core.move("h1-1", "outliner-1", S.FAILED, permanent=True)
        core.beat("h1-3", {"critic-1": S.PENDING})
        assert is_settled(core.state)
        assert not is_ready(core.state)
        writer = component_statuses(core.state, now_s=core.now_s)[1]
        assert writer.replicas[0].reason == "waits for outliner"

    def test_an_answer_to_a_spawn_that_comes_after_the_exit_adopts_nothing(self) -> None:
        core = started()
        core.tell(HostExited("h1-1", 1, signal=9))
        core.tell(HostSpawned("h1-1", 1, (("writer-1", "writer"),)))
        assert "h1-1" not in core.state.observed.hosts


class TestCrashes:
    """Restarts after an exit, bounded by the policy."""

    def test_a_replica_that_fails_is_started_again_in_its_host(self) -> None:
        core = started()
        assert core.move("h1-1", "writer-1", S.FAILED) == (SendStart("writer-1", "writer", "h1-1", "1-2"),)
        assert core.replica("writer-1").retry_at_s is None

    def test_a_second_failure_waits_for_its_backoff(self) -> None:
        core = started()
        core.move("h1-1", "writer-1", S.FAILED)
        core.move("h1-1", "writer-1", S.STARTING)
        assert core.move("h1-1", "writer-1", S.FAILED) == ()
        (status,) = component_statuses(core.state, now_s=core.now_s)
        assert (status.state, status.replicas[0].retry_in_s) == (S.BACKOFF, 0.5)
        assert core.wake_at_s == core.now_s + 0.5
        assert [type(effect) for effect in core.wait(0.5)] == [SendStart]

    def test_third_exit_inside_the_window_stops_restarting(self) -> None:
        core = started(max_restarts=2)
        core.tell(HostExited("h1-1", 1, signal=11))
        core.tell(HostExited("h1-2", 2, signal=11))
        core.wait(1)
        assert core.tell(HostExited("h1-3", 3, signal=11)) == ()
        record = core.replica("writer-1")
        assert record.state is S.FAILED
        assert (
            record.reason
            == "its process was killed by signal 11 before it was up; crash loop: 3 exits in 60 s"
        )

    def test_a_permanent_failure_is_not_tried_again_and_frees_its_process(self) -> None:
        core = started()
        assert core.move("h1-1", "writer-1", S.FAILED, permanent=True) == (StopHost("h1-1"),)
        assert core.tell(HostExited("h1-1", 1, exit_code=0)) == ()
        assert core.replica("writer-1").state is S.FAILED

    def test_an_exit_counts_for_every_replica_in_the_host(self) -> None:
        core = Core(component("a", group="g"), component("b", group="g"), mode=Mode.HYBRID)
        core.wait(0)
        core.run("h1-1", "a-1", "b-1")
        effects = core.tell(HostExited("h1-1", 1, signal=9))
        assert effects == (SpawnHost("h1-2", "group.g", (("a-1", "a"), ("b-1", "b"))),)
        assert [core.replica(name).restarts for name in ("a-1", "b-1")] == [1, 1]

    def test_a_process_that_ends_in_order_is_left_at_that(self) -> None:
        core = started()
        core.tell(HostStopping(host="h1-1", pid=1))
        core.move("h1-1", "writer-1", S.DRAINING)
        core.move("h1-1", "writer-1", S.STOPPED)
        assert core.tell(HostExited("h1-1", 1, exit_code=0)) == ()
        assert core.replica("writer-1").finished
        assert is_settled(core.state)

    def test_a_blocked_loop_changes_nothing(self) -> None:
        core = started()
        before = core.state
        assert core.tell(LoopBlocked(host="h1-1", duration_ms=300)) == ()
        assert core.state == before

    def test_policy_always_starts_what_ended_in_order_again(self) -> None:
        core = started(policy="always")
        assert [type(effect) for effect in core.tell(HostExited("h1-1", 1, exit_code=0))] == [SpawnHost]

    def test_a_process_that_ends_before_it_is_up_has_not_ended_in_order(self) -> None:
        core = Core(component("writer"))
        core.wait(0)
        assert [type(effect) for effect in core.tell(HostExited("h1-1", 1, exit_code=0))] == [SpawnHost]
        assert core.replica("writer-1").restarts == 1

    def test_a_retry_that_is_due_before_its_dependency_serves_is_pending(self) -> None:
        core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
        core.wait(0)
        core.run("h1-1", "outliner-1")
        core.run("h1-2", "writer-1")
        core.tell(HostExited("h1-1", 1, signal=9))
        assert core.move("h1-2", "writer-1", S.FAILED) == ()
        assert core.wake_at_s == core.now_s
        assert core.wait(0) == ()
        assert core.replica("writer-1").state is S.PENDING

    def test_what_was_given_up_stays_so_while_its_host_clears_it_away(self) -> None:
        core = Core(component("a", startup_timeout_s=10, restart={"max_restarts": 0}), mode=Mode.SINGLE)
        core.wait(0)
        core.beat("h1-1", {"a-1": S.PENDING})
        core.move("h1-1", "a-1", S.STARTING)
        assert core.wait(15) == (StopHost("h1-1"),)
        for state in (S.READY, S.DRAINING, S.STOPPED):
            core.move("h1-1", "a-1", state)
            assert core.replica("a-1").state is S.FAILED
        assert core.tell(HostExited("h1-1", 1, exit_code=0)) == ()
        assert core.replica("a-1").reason == "it was not ready within 10 s; crash loop: 1 exits in 60 s"

    def test_what_was_given_up_and_serves_after_all_is_ready(self) -> None:
        core = Core(component("a", restart={"max_restarts": 0}), component("b"), mode=Mode.SINGLE)
        core.wait(0)
        core.run("h1-1", "a-1", "b-1")
        core.move("h1-1", "a-1", S.FAILED)
        core.beat("h1-1", {"a-1": S.READY, "b-1": S.READY})
        assert core.replica("a-1").state is S.READY

    def test_a_refused_start_counts_as_an_exit(self) -> None:
        core = Core(component("writer", restart={"max_restarts": 0}))
        core.wait(0)
        core.beat("h1-1", {"writer-1": S.PENDING})
        refusal = CommandFailed(
            component="writer", replica="writer-1", host="h1-1", command_id="1-1", command="replica.start",
            error={"what": "holds no replica 'writer-1'"},
        )  # fmt: skip
        core.tell(refusal)
        assert core.replica("writer-1").state is S.FAILED
        assert core.replica("writer-1").error == {"what": "holds no replica 'writer-1'"}

    def test_what_waits_for_a_dependency_to_start_again_has_not_crashed_again(self) -> None:
        """Its host lives and says `failed` with every heartbeat meanwhile."""
        a, b = component("a"), component("b", depends_on=("a",), restart={"max_restarts": 1})
        core = Core(a, b, mode=Mode.SINGLE)
        core.wait(0)
        core.run("h1-1", "a-1")
        core.beat("h1-1", {"a-1": S.READY, "b-1": S.READY})
        core.move("h1-1", "a-1", S.FAILED)
        core.move("h1-1", "b-1", S.FAILED)
        core.wait(0.1)
        for _ in range(3):
            core.now_s += 2
            core.beat("h1-1", {"a-1": S.STARTING, "b-1": S.FAILED})
        assert core.replica("b-1").state is S.PENDING
        assert core.replica("b-1").restarts == 1
        assert core.move("h1-1", "a-1", S.READY) == (SendStart("b-1", "b", "h1-1", "1-4"),)


class TestSilence:
    """Hosts that say nothing."""

    def test_three_missed_heartbeats_cost_the_process_its_life(self) -> None:
        core = started()
        assert core.wake_at_s == 6.0
        assert core.wait(6) == (KillHost("h1-1", "it was silent for three heartbeats"),)
        assert core.replica("writer-1").state is S.LOST
        effects = core.tell(HostExited("h1-1", 1, signal=9, killed_because="it was silent"))
        record = core.state.observed.replicas["writer-1"]
        assert record.reason == "its process was killed: it was silent"
        assert [type(effect) for effect in effects] == [SpawnHost]

    def test_a_host_that_is_back_before_the_order_to_kill_it_is_obeyed_goes_on(self) -> None:
        core = started()
        core.wait(6)
        core.beat("h1-1", {"writer-1": S.READY})
        assert core.tell(HostSpared("h1-1")) == ()
        core.beat("h1-1", {"writer-1": S.READY})
        assert core.replica("writer-1").state is S.READY
        assert core.wait(5) == ()

    def test_one_that_is_still_silent_is_killed_after_all(self) -> None:
        core = started()
        ordered = core.wait(6)
        core.tell(HostSpared("h1-1"))
        assert core.tell(TimePassed()) == ordered

    def test_one_that_did_not_end_in_time_is_killed_after_all(self) -> None:
        core = started()
        core.tell(HostStopping(host="h1-1", pid=1))
        for _ in range(20):
            core.beat("h1-1", {"writer-1": S.STOPPING})
            if ordered := core.wait(1):
                break
        assert ordered == (KillHost("h1-1", "it did not end in time"),)
        assert core.tell(HostSpared("h1-1")) == ordered

    def test_one_that_never_spoke_is_killed_after_all(self) -> None:
        core = Core(component("writer", startup_timeout_s=5))
        core.wait(0)
        core.tell(HostSpawned("h1-1", 1, (("writer-1", "writer"),)))
        ordered = core.wait(60)
        assert ordered == (KillHost("h1-1", "it sent no heartbeat in time"),)
        assert core.tell(HostSpared("h1-1")) == ordered

    def test_a_stop_is_not_overdue_while_the_bus_is_away_and_has_its_whole_time_after_that(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        core.tell(BusLost())
        assert core.wait(60) == ()
        assert core.replica("writer-1").state is S.READY
        core.tell(BusRecovered())
        core.beat("h1-1", {"writer-1": S.DRAINING})
        assert core.wait(3) == ()
        core.beat("h1-1", {"writer-1": S.DRAINING})
        core.wait(15)
        assert core.replica("writer-1").state is S.STOPPED

    def test_silence_says_nothing_while_the_bus_is_away(self) -> None:
        core = started()
        core.tell(BusLost())
        assert core.wake_at_s is None
        assert core.wait(60) == ()
        core.tell(BusRecovered())
        assert core.wait(5.9) == ()
        assert [type(effect) for effect in core.wait(0.1)] == [KillHost]

    def test_a_control_plane_that_was_stalled_itself_waits_for_hosts_anew(self) -> None:
        core = started()
        assert core.wait(30) == ()
        assert core.replica("writer-1").state is S.READY
        assert [type(effect) for effect in core.wait(6)] == [KillHost]

    def test_a_heartbeat_that_was_read_after_the_timer_still_saves_its_host(self) -> None:
        """The supervisor may reduce several inputs before it plans."""
        core = started()
        core.state, _ = reduce(core.state, TimePassed(), now_s=6.0)
        assert core.replica("writer-1").state is S.LOST
        core.now_s = 6.0
        assert core.beat("h1-1", {"writer-1": S.READY}) == ()
        assert core.replica("writer-1").state is S.READY

    def test_the_local_host_is_never_killed_for_silence(self) -> None:
        core = Core(component("writer"), mode=Mode.SINGLE)
        core.wait(0)
        core.run("h1-1", "writer-1")
        assert core.wake_at_s is None
        assert core.wait(600) == ()

    def test_a_kill_that_does_nothing_is_tried_again(self) -> None:
        core = started()
        core.wait(6)
        assert core.wait(5) == (KillHost("h1-1", "it did not end in time"),)


class TestStopping:
    """In the order of the dependents, within grace periods."""

    def test_everything_stops_in_reverse_order_of_dependencies(self) -> None:
        core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
        core.wait(0)
        core.run("h1-1", "outliner-1")
        core.run("h1-2", "writer-1")
        assert core.tell(StopAll()) == (SendStop("writer-1", "writer", "h1-2", "1-3", 15.0),)
        stopped = core.move("h1-2", "writer-1", S.STOPPED)
        assert stopped == (StopHost("h1-2"), SendStop("outliner-1", "outliner", "h1-1", "1-4", 15.0))
        assert core.move("h1-1", "outliner-1", S.STOPPED) == (StopHost("h1-1"),)
        core.tell(HostExited("h1-1", 1, exit_code=0))
        assert not is_stopped(core.state)
        core.tell(HostExited("h1-2", 1, exit_code=0))
        assert is_stopped(core.state)

    def test_a_component_stopped_alone_does_not_wait_for_its_dependents(self) -> None:
        core = Core(component("outliner"), component("writer", depends_on=("outliner",)))
        core.wait(0)
        core.run("h1-1", "outliner-1")
        core.run("h1-2", "writer-1")
        (effect,) = core.tell(StopRequest(component="outliner"))
        assert isinstance(effect, SendStop)
        assert effect.replica == "outliner-1"

    def test_a_stop_that_takes_too_long_ends_in_a_kill(self) -> None:
        core = started(grace_period_s=1)
        core.tell(StopRequest(component="writer"))
        core.beat("h1-1", {"writer-1": S.DRAINING})
        assert core.wake_at_s == 3.0
        assert core.wait(3) == (KillHost("h1-1", "its replicas did not stop in time"),)
        core.tell(HostExited("h1-1", 1, signal=9))
        assert core.replica("writer-1").state is S.STOPPED
        assert core.replica("writer-1").exits == ()

    def test_a_neighbour_in_the_host_survives_a_stop_that_takes_too_long(self) -> None:
        core = Core(component("a", grace_period_s=1), component("b"), mode=Mode.SINGLE)
        core.wait(0)
        core.run("h1-1", "a-1", "b-1")
        core.tell(StopRequest(component="a"))
        core.beat("h1-1", {"a-1": S.DRAINING, "b-1": S.READY})
        assert core.wait(3) == ()
        core.beat("h1-1", {"a-1": S.DRAINING, "b-1": S.READY})
        assert core.replica("a-1").state is S.STOPPED
        assert core.replica("a-1").reason == "it did not stop within 3.0 s"

    def test_a_host_that_does_not_end_is_killed(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        assert core.move("h1-1", "writer-1", S.STOPPED) == (StopHost("h1-1"),)
        assert core.wait(5) == (KillHost("h1-1", "it did not end in time"),)

    def test_a_completed_stop_counts_although_its_transition_was_lost(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        done = CommandCompleted(
            component="writer", replica="writer-1", host="h1-1", command_id="1-2", command="replica.stop"
        )
        assert core.tell(done) == (StopHost("h1-1"),)

    def test_a_crash_during_a_stop_is_no_crash(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        assert core.tell(HostExited("h1-1", 1, signal=11)) == ()
        assert core.replica("writer-1").state is S.STOPPED

    def test_an_exit_after_a_stop_counts_for_nothing_although_a_start_came_between(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        core.tell(StartRequest(component="writer"))
        effects = core.tell(HostExited("h1-1", 1, signal=9))
        assert [type(effect) for effect in effects] == [SpawnHost]
        assert core.replica("writer-1").exits == ()

    def test_a_kill_of_an_empty_host_counts_for_nothing_although_a_start_came_between(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        core.move("h1-1", "writer-1", S.STOPPED)
        assert [type(effect) for effect in core.wait(5)] == [KillHost]
        core.tell(StartRequest(component="writer"))
        core.tell(HostExited("h1-1", 1, signal=9))
        assert core.replica("writer-1").exits == ()


class TestOperators:
    """Requests."""

    def test_what_an_operator_stopped_stays_stopped(self) -> None:
        core = started()
        core.move("h1-1", "writer-1", S.FAILED)
        core.tell(StopRequest(component="writer"))
        core.tell(HostExited("h1-1", 1, signal=9))
        assert core.wait(600) == ()
        (status,) = component_statuses(core.state, now_s=core.now_s)
        assert (status.desired, status.state) == ("stopped", S.STOPPED)

    def test_a_start_clears_a_crash_loop(self) -> None:
        core = started(max_restarts=0)
        core.tell(HostExited("h1-1", 1, signal=9))
        assert core.replica("writer-1").state is S.FAILED
        assert [type(effect) for effect in core.tell(StartRequest(component="writer"))] == [SpawnHost]
        assert core.replica("writer-1").exits == ()

    def test_a_start_while_the_host_ends_waits_for_its_exit(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        core.move("h1-1", "writer-1", S.STOPPED)
        assert core.tell(StartRequest(component="writer")) == ()
        effects = core.tell(HostExited("h1-1", 1, exit_code=0))
        assert [type(effect) for effect in effects] == [SpawnHost]
        assert core.replica("writer-1").restarts == 0

    def test_a_restart_replaces_the_process(self) -> None:
        core = started()
        assert [type(e) for e in core.tell(RestartRequest(component="writer", rolling=False))] == [SendStop]
        assert core.move("h1-1", "writer-1", S.STOPPED) == (StopHost("h1-1"),)
        effects = core.tell(HostExited("h1-1", 1, exit_code=0))
        assert [type(effect) for effect in effects] == [SpawnHost]
        core.beat("h1-2", {"writer-1": S.PENDING})
        assert core.replica("writer-1").generation == 2

    def test_a_restart_in_a_shared_host_leaves_the_neighbour_alone(self) -> None:
        core = Core(component("a"), component("b"), mode=Mode.SINGLE)
        core.wait(0)
        core.run("h1-1", "a-1", "b-1")
        assert core.tell(RestartRequest(component="a", rolling=False)) == (
            SendStop("a-1", "a", "h1-1", "1-3", 15.0),
        )
        assert core.move("h1-1", "a-1", S.STOPPED) == (SendStart("a-1", "a", "h1-1", "1-4"),)

    def test_a_restart_starts_a_stopped_component(self) -> None:
        core = started()
        core.tell(StopRequest(component="writer"))
        core.tell(HostExited("h1-1", 1, exit_code=0))
        assert [type(e) for e in core.tell(RestartRequest(component="writer"))] == [SpawnHost]

    def test_a_restart_of_a_lost_replica_counts_no_exit(self) -> None:
        core = started()
        core.wait(6)
        core.tell(RestartRequest(component="writer"))
        effects = core.tell(HostExited("h1-1", 1, signal=9))
        assert [type(effect) for effect in effects] == [SpawnHost]
        assert core.replica("writer-1").exits == ()

    def test_scaling_down_stops_the_highest_numbers(self) -> None:
        core = Core(component("writer", replicas=3))
        core.wait(0)
        for number in (1, 2, 3):
            core.run(f"h1-{number}", f"writer-{number}")
        effects = core.tell(ScaleRequest(component="writer", replicas=1))
        assert [effect.replica for effect in effects if isinstance(effect, SendStop)] == [
            "writer-2",
            "writer-3",
        ]

    def test_scaling_up_spawns_hosts_and_none_is_allowed(self) -> None:
        core = started()
        assert core.tell(ScaleRequest(component="writer", replicas=2)) == (
            SpawnHost("h1-2", "writer-2", (("writer-2", "writer"),)),
        )
        core.tell(ScaleRequest(component="writer", replicas=0))
        core.tell(HostExited("h1-1", 1, exit_code=0))
        core.tell(HostExited("h1-2", 1, exit_code=0))
        assert is_settled(core.state)
        assert component_statuses(core.state, now_s=core.now_s)[0].replicas == ()

    def test_scaling_up_in_a_shared_host_starts_there(self) -> None:
        core = Core(component("writer"), mode=Mode.SINGLE)
        core.wait(0)
        core.run("h1-1", "writer-1")
        effects = core.tell(ScaleRequest(component="writer", replicas=2))
        assert effects == (SendStart("writer-2", "writer", "h1-1", "1-2"),)

    def test_a_shared_host_can_take_a_component_that_was_scaled_to_nothing_before_it(self) -> None:
        core = Core(component("a"), component("b"), mode=Mode.SINGLE)
        core.wait(0)
        core.tell(ScaleRequest(component="a", replicas=0))
        (respawn,) = core.tell(HostExited("h1-1", 1, signal=9))
        assert respawn == SpawnHost("h1-2", "local", (("a-1", "a"), ("b-1", "b")))
        core.beat("h1-2", {"a-1": S.PENDING, "b-1": S.READY})
        (effect,) = core.tell(ScaleRequest(component="a", replicas=1))
        assert isinstance(effect, SendStart)

    def test_an_unknown_component_is_refused_with_the_near_miss(self) -> None:
        core = started()
        assert core.tell(RestartRequest(component="wirter", request_id="r1")) == ()
        assert core.answer is not None
        assert (core.answer.request_id, core.answer.accepted) == ("r1", False)
        assert core.answer.error is not None
        assert core.answer.error["code"] == "E3002"
        assert "Did you mean 'writer'?" in core.answer.error["fix"]

    @pytest.mark.parametrize("request_type", [StartRequest, RestartRequest])
    def test_nothing_is_started_while_the_application_stops(
        self, request_type: type[StartRequest] | type[RestartRequest]
    ) -> None:
        core = started()
        core.tell(StopAll())
        core.tell(request_type(component="writer"))
        assert core.answer is not None
        assert core.answer.error is not None
        assert core.answer.error["code"] == "E3007"


class TestTakeover:
    """A new control plane, and hosts that were there before it."""

    def test_what_lives_is_adopted_and_not_restarted(self) -> None:
        core = Core(component("writer"), epoch=2)
        assert core.tell(HostSpawned("h1-7", 42, (("writer-1", "writer"),))) == ()
        assert core.beat("h1-7", {"writer-1": S.READY}) == ()
        assert is_ready(core.state)

    def test_ids_of_a_new_epoch_never_repeat_old_ones(self) -> None:
        core = Core(component("writer"), epoch=2)
        (effect,) = core.wait(0)
        assert isinstance(effect, SpawnHost)
        assert effect.host == "h2-1"

    def test_heartbeats_of_a_host_that_has_exited_are_ignored(self) -> None:
        core = started()
        core.tell(HostExited("h1-1", 1, signal=9))
        core.beat("h1-1", {"writer-1": S.READY})
        assert core.replica("writer-1").state is S.PENDING


class TestForeignHosts:
    """Hosts that somebody else started."""

    def foreign(self, *, max_restarts: int = 2) -> Core:
        """Return a core that wants no replica of its own, and sees one of somebody else's."""
        core = Core(component("writer", restart={"max_restarts": max_restarts}))
        core.tell(ScaleRequest(component="writer", replicas=0))
        core.beat("pod-a", {"writer-a": S.READY}, foreign=True)
        return core

    def test_one_is_observed_and_told_to_stop_but_never_ended(self) -> None:
        core = self.foreign()
        assert core.tell(StopRequest(component="writer")) == (
            SendStop("writer-a", "writer", "pod-a", "1-1", 15.0),
        )
        assert core.beat("pod-a", {"writer-a": S.STOPPED}, foreign=True) == ()

    def test_one_that_was_told_to_stop_is_told_to_start_again(self) -> None:
        core = self.foreign()
        core.tell(StopRequest(component="writer"))
        core.move("pod-a", "writer-a", S.STOPPED)
        assert core.tell(StartRequest(component="writer")) == (
            SendStart("writer-a", "writer", "pod-a", "1-2"),
        )

    def test_one_that_has_done_its_work_is_left_alone(self) -> None:
        core = self.foreign()
        core.move("pod-a", "writer-a", S.STOPPED)
        assert core.replica("writer-a").finished
        assert core.wait(2) == ()

    def test_a_silent_one_is_lost_and_then_forgotten(self) -> None:
        core = self.foreign()
        assert core.wait(6) == ()
        assert core.replica("writer-a").state is S.LOST
        assert core.wait(6) == ()
        assert not core.state.observed.hosts
        assert not core.state.observed.replicas

    def test_one_that_comes_back_is_there_again(self) -> None:
        core = self.foreign()
        core.wait(6)
        core.beat("pod-a", {"writer-a": S.READY}, foreign=True)
        assert core.replica("writer-a").state is S.READY

    def test_one_that_failed_for_good_is_started_when_an_operator_asks(self) -> None:
        """And its heartbeat, which still says `failed` until the start arrives, is no second failure."""
        core = self.foreign(max_restarts=0)
        core.beat("pod-a", {"writer-a": S.FAILED}, foreign=True)
        assert core.replica("writer-a").state is S.FAILED
        start = SendStart("writer-a", "writer", "pod-a", "1-1")
        assert core.tell(RestartRequest(component="writer"), after_s=2) == (start,)
        assert core.beat("pod-a", {"writer-a": S.FAILED}, foreign=True) == ()
        assert core.replica("writer-a").state is S.STARTING
        core.beat("pod-a", {"writer-a": S.READY}, foreign=True)
        assert core.replica("writer-a").state is S.READY

    def test_one_that_crashes_again_is_started_again_after_its_delay(self) -> None:
        core = self.foreign()
        for state in (S.FAILED, S.STARTING):
            core.beat("pod-a", {"writer-a": state}, foreign=True)
        core.move("pod-a", "writer-a", S.FAILED)
        assert core.replica("writer-a").state is S.BACKOFF
        assert core.wait(0.5) == (SendStart("writer-a", "writer", "pod-a", "1-2"),)

    def test_one_that_is_new_starts_by_itself(self) -> None:
        core = self.foreign()
        assert core.beat("pod-b", {"writer-b": S.PENDING}, foreign=True) == ()

    def test_one_that_names_a_replica_of_ours_does_not_take_it_over(self) -> None:
        core = started()
        core.beat("pod-a", {"writer-1": S.STOPPED}, foreign=True)
        assert core.replica("writer-1").host == "h1-1"
        assert core.replica("writer-1").state is S.READY

    def test_a_replica_it_no_longer_names_is_forgotten(self) -> None:
        core = self.foreign()
        core.beat("pod-a", {}, foreign=True)
        assert not core.state.observed.replicas


class TestStatus:
    """The single word for a component."""

    def test_a_component_that_serves_with_less_than_all_its_replicas_is_degraded(self) -> None:
        core = Core(component("writer", replicas=2))
        core.wait(0)
        core.run("h1-1", "writer-1")
        (status,) = component_statuses(core.state, now_s=core.now_s)
        assert status.state is S.DEGRADED
        assert [replica.state for replica in status.replicas] == [S.READY, S.PENDING]

    def test_uptime_counts_from_what_the_host_said(self) -> None:
        core = started()
        core.now_s += 3
        (status,) = component_statuses(core.state, now_s=core.now_s)
        assert status.replicas[0].uptime_s == 3.0


class TestHeartbeats:
    """What they say is for people to see; what is acted on changes only with what happens."""

    def test_one_that_says_nothing_new_leaves_every_record_the_same_object(self) -> None:
        core = started()
        before = core.state
        core.now_s += 2
        core.beat("h1-1", {"writer-1": S.READY})
        assert core.state.observed.replicas is before.observed.replicas
        assert core.state.observed.hosts is before.observed.hosts
        assert core.state.observed.vitals["h1-1"].last_seen_s == core.now_s
        assert not concerns_plan(before, core.state)

    def test_one_that_says_something_new_concerns_the_plan(self) -> None:
        core = started()
        before = core.state
        core.beat("h1-1", {"writer-1": S.DEGRADED})
        assert concerns_plan(before, core.state)

    def test_the_last_answer_of_a_replica_is_shown_until_it_starts_anew(self) -> None:
        core = started(max_restarts=0)
        well = Health(status="ok", latency_ms=0.2, checked_at=datetime(2026, 1, 1, tzinfo=UTC))
        core.tell(_with_health("h1-1", S.READY, well))
        core.tell(_with_health("h1-1", S.FAILED, None))
        assert _health(core) == well
        core.move("h1-1", "writer-1", S.STARTING)
        assert _health(core) is None

    def test_the_last_answer_of_a_process_that_died_is_shown_until_another_is_there(self) -> None:
        core = started(max_restarts=0)
        well = Health(status="ok", latency_ms=0.2, checked_at=datetime(2026, 1, 1, tzinfo=UTC))
        core.tell(_with_health("h1-1", S.READY, well))
        core.tell(HostExited("h1-1", 1, signal=9))
        assert _health(core) == well


def _with_health(host: str, state: ReplicaState, health: Health | None) -> HostHeartbeat:
    report = ReplicaReport(component="writer", replica="writer-1", state=state, health=health)
    return HostHeartbeat(host=host, pid=1, interval_s=2.0, replicas=(report,))


def _health(core: Core) -> Health | None:
    (status,) = component_statuses(core.state, now_s=core.now_s)
    return status.replicas[0].health
