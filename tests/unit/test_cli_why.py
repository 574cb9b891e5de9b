"""The story that `ctl why` tells, from the JSON of the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from control_plane.cli.show import Style
from control_plane.cli.why_view import story, story_lines

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
CRASH_LOOP = "its process was killed by signal 9; crash loop: 6 exits in 60 s"


def component(name: str, state: str, *, depends_on: tuple[str, ...] = (), **replica: Any) -> dict[str, Any]:
    one = {"id": f"{name}-1", "state": state, "pid": 7, "uptime_s": 182.0, "restarts": 0, "health": None}
    whole = {**one, "reason": None, "retry_in_s": None, **replica}
    return {"name": name, "state": state, "desired": "running", "depends_on": depends_on, "replicas": [whole]}


def transition(to_state: str, **data: Any) -> dict[str, Any]:
    payload = {"from_state": "ready", "to_state": to_state, **data}
    at = "2030-01-01T11:55:00+00:00"
    return {"type": "component.transitioned", "replica": "writer-1", "at": at, "data": payload}


def told(
    subject: dict[str, Any], *others: dict[str, Any], events: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    return story(subject, {each["name"]: each for each in (subject, *others)}, events, [], now=NOW)


class TestSentence:
    def test_a_crash_loop_names_the_signal_and_says_how_to_start_again(self) -> None:
        tale = told(component("writer", "failed", reason=CRASH_LOOP))

        assert tale["sentence"].startswith("writer has failed: its process was killed by signal 9 (SIGKILL")
        assert tale["advice"] == ["mend the cause, then: ctl start writer", "ctl logs writer"]

    def test_the_chain_of_what_is_waited_for_is_followed_to_its_root(self) -> None:
        outliner = component("outliner", "pending", depends_on=("critic",))
        critic = component("critic", "backoff", retry_in_s=3.2)
        tale = told(component("writer", "pending", depends_on=("outliner",)), outliner, critic)

        assert tale["sentence"] == "writer waits for critic, which is in backoff (again in 3.2 s)"
        assert tale["advice"] == ["ctl why critic"]

    def test_a_ready_one_tells_of_its_last_restart(self) -> None:
        exit_ = transition("backoff", reason="its process ended with exit code 1")
        tale = told(component("writer", "ready", restarts=2), events=(exit_,))

        assert tale["sentence"] == (
            "writer is ready, since 3m 2s; 2 restarts, the last 5m 0s ago because "
            "its process ended with exit code 1"
        )

    def test_a_ring_of_waiting_components_ends(self) -> None:
        ring = component("b", "pending", depends_on=("a",))

        assert told(component("a", "pending", depends_on=("b",)), ring)["sentence"].startswith(
            "a waits for b"
        )


def blocked(*, at: str, hint: str) -> dict[str, Any]:
    data = {
        "host": "h-1",
        "duration_ms": 900,
        "culprit": "writer.py:7 in on_chapter",
        "count": 3,
        "hint": hint,
    }
    return {"type": "loop.blocked", "replica": "writer-1", "at": at, "data": data}


HINT = "move it off the loop with context.run_in_thread, or isolate it: ctl move writer --to isolated"
RECENTLY = "2030-01-01T11:59:00+00:00"


def happened(*events: dict[str, Any]) -> list[str]:
    return [each["what"] for each in told(component("writer", "ready"), events=events)["happened"]]


class TestHappenings:
    def test_a_kill_is_told_once_with_what_followed(self) -> None:
        lost = transition("lost", host="h1-1", reason="its host ended with signal 9")
        killed = "its process was killed by signal 9"
        at_once = transition("backoff", host="", reason=killed, retry_in_s=0.0)
        later = transition("backoff", host="", reason=killed, retry_in_s=2.04)

        assert happened(lost, at_once, lost, later) == [
            "was killed by signal 9 (SIGKILL); started again at once",
            "was killed by signal 9 (SIGKILL); again in 2.0 s",
        ]

    def test_a_kill_by_the_control_plane_says_why(self) -> None:
        because = "killed: it was silent for three heartbeats"
        lines = happened(
            transition("lost", host="", reason="its host was silent for 6.1 s"),
            transition("lost", host="h1-1", reason=f"its host was {because}"),
            transition("backoff", host="", reason=f"its process was {because}", retry_in_s=0.0),
        )

        assert lines == [
            "was killed by the control plane: it was silent for three heartbeats; started again at once"
        ]

    def test_a_start_and_a_stop_are_told_with_their_lengths(self) -> None:
        times = [f"2030-01-01T11:55:0{second}+00:00" for second in (1, 3, 4, 5, 8)]
        states = ("starting", "ready", "draining", "stopping", "stopped")
        lines = happened(*({**transition(state), "at": at} for state, at in zip(states, times, strict=True)))

        assert lines == ["started, and was ready after 2.0 s", "drained, and was stopped after 4.0 s"]

    def test_what_is_known_of_a_failed_start_is_told_once(self) -> None:
        reason = "E5003 startup raised"
        lines = happened(
            transition("starting", host="h-1"),
            transition("failed", host="h-1", reason=reason),
            transition("failed", host="", reason=f"{reason}; a restart would not help"),
        )

        assert lines == [f"failed to start after 0 ms: {reason}; a restart would not help"]


class TestTraceback:
    ERROR: ClassVar = {"detail": "Traceback\nValueError: no ink"}

    def test_it_is_that_of_the_present_failure(self) -> None:
        failure = transition("failed", error=self.ERROR)
        tale = told(component("writer", "failed"), events=(failure,))
        assert tale["traceback"] == ["Traceback", "ValueError: no ink"]

    def test_it_is_none_when_the_newest_failure_had_none(self) -> None:
        events = (transition("failed", error=self.ERROR), transition("ready"), transition("lost"))
        assert told(component("writer", "backoff"), events=events)["traceback"] == []

    def test_it_is_none_when_the_component_is_ready_since(self) -> None:
        events = (transition("failed", error=self.ERROR), transition("ready"))
        assert told(component("writer", "degraded"), events=events)["traceback"] == []


class TestRequests:
    FAILED: ClassVar = {
        "type": "command.failed",
        "at": RECENTLY,
        "data": {"command": "restart", "error": {"why": "'writer-2': no ink; what ran before still runs"}},
    }

    def test_a_restart_that_failed_is_in_the_sentence_and_what_runs_is_said(self) -> None:
        tale = told(component("writer", "ready"), events=(self.FAILED,))

        assert tale["sentence"].endswith(
            "; the last restart failed: 'writer-2': no ink; what ran before still runs"
        )

    def test_a_later_request_that_was_done_takes_it_back(self) -> None:
        done = {"type": "command.completed", "at": RECENTLY, "data": {"command": "restart"}}

        assert "failed" not in told(component("writer", "ready"), events=(self.FAILED, done))["sentence"]


class TestLines:
    def test_a_blocked_loop_is_told_with_its_line(self) -> None:
        event = blocked(at=RECENTLY, hint=HINT)
        neighbour = component("critic", "ready", host="h-1")
        tale = told(component("writer", "ready", host="h-1"), neighbour, events=(event,))
        lines = story_lines(tale, Style(False), now=NOW)

        assert any("for 900 ms at writer.py:7 in on_chapter (3 times)" in line for line in lines)
        assert "  ctl move writer --to isolated" in lines

    def test_isolation_is_advised_only_for_a_recent_block_beside_others(self) -> None:
        writer, neighbour = component("writer", "ready", host="h-1"), component("critic", "ready", host="h-1")
        old = blocked(at="2030-01-01T11:49:00+00:00", hint=HINT)
        new = blocked(at=RECENTLY, hint=HINT)

        assert told(writer, neighbour, events=(old,))["advice"] == []
        assert not any("ctl move" in line for line in told(writer, events=(new,))["advice"])

    def test_many_replicas_are_folded_and_those_that_are_not_ready_come_first(self) -> None:
        subject = component("writer", "degraded")
        (one,) = subject["replicas"]
        subject["replicas"] = [{**one, "id": f"writer-{n}", "state": "ready"} for n in range(1, 21)]
        subject["replicas"][-1]["state"] = "backoff"
        error = {"detail": "line\n" * 50}
        events = tuple(transition("backoff", error=error) for _ in range(20))
        events = tuple({**event, "replica": "writer-20"} for event in events)
        logs = [{"at": RECENTLY, "level": "error", "message": "no"}] * 5
        tale = story(subject, {"writer": subject}, events, logs, now=NOW)
        lines = story_lines(tale, Style(False), now=NOW)

        assert "and 14 more replicas, all ready" in lines
        assert lines[3].startswith("writer-20")
        assert sum(line.startswith("writer-") for line in lines) == 6
        assert "traceback:" in lines
        assert len(lines) == 40

    def test_text_of_others_is_harmless_and_all_fits_one_screen(self) -> None:
        error = {"detail": "line\n" * 50 + "ValueError: \x1b[2Jbad"}
        events = tuple(transition("failed", reason="a\x1b[2Jb", error=error) for _ in range(100))
        lines = story_lines(told(component("writer", "failed"), events=events), Style(False), now=NOW)

        assert len(lines) <= 40
        assert "\x1b" not in "".join(lines)

    def test_what_is_no_json_object_is_left_out(self) -> None:
        odd = {"type": "component.transitioned", "data": "no json"}

        assert told(component("writer", "ready"), events=(odd,))["happened"] == []
