"""The story that `ctl why` tells, from the JSON of the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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


class TestLines:
    def test_a_blocked_loop_is_told_with_its_line(self) -> None:
        data = {"host": "h-1", "duration_ms": 900, "culprit": "writer.py:7 in on_chapter", "count": 3}
        blocked = {"type": "loop.blocked", "replica": "writer-1", "at": "", "data": data}
        lines = story_lines(told(component("writer", "ready"), events=(blocked,)), Style(False), now=NOW)

        assert any("for 900 ms at writer.py:7 in on_chapter (3 times)" in line for line in lines)
        assert any("ctl move writer --to isolated" in line for line in lines)

    def test_text_of_others_is_harmless_and_all_fits_one_screen(self) -> None:
        error = {"detail": "line\n" * 50 + "ValueError: \x1b[2Jbad"}
        events = tuple(transition("failed", reason="a\x1b[2Jb", error=error) for _ in range(100))
        lines = story_lines(told(component("writer", "failed"), events=events), Style(False), now=NOW)

        assert len(lines) <= 40
        assert "\x1b" not in "".join(lines)

    def test_what_is_no_json_object_is_left_out(self) -> None:
        odd = {"type": "component.transitioned", "data": "no json"}

        assert told(component("writer", "ready"), events=(odd,))["events"] == []
