"""The steps of a recovery are read from logs and streams."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from perf.trail import STEPS, trail

KILLED_S = 1_795_519_740.5


def at(after_ms: float) -> str:
    return datetime.fromtimestamp(KILLED_S + after_ms / 1000, UTC).isoformat(timespec="milliseconds")


def logged(after_ms: float, message: str) -> str:
    return json.dumps({"at": at(after_ms), "message": message})


def entry(after_ms: float, kind: str, **data: Any) -> tuple[str, dict[str, str]]:
    return "1-0", {"type": kind, "component": "critic", "at": at(after_ms), "data": json.dumps(data)}


def test_each_step_counts_from_the_kill_and_only_the_first_time_after_it() -> None:
    """A host that was spawned before the kill, and a second heartbeat, change nothing."""
    pending = [{"component": "critic", "state": "pending"}]

    found = trail(
        "critic",
        killed_s=KILLED_S,
        anchor_lines=[
            logged(-900, "host.spawned"), "not JSON", logged(4, "host.gone"), logged(8, "host.spawned")
        ],
        events=[
            entry(5, "component.transitioned", to_state="lost"),
            entry(27, "host.heartbeat", replicas=pending),
            entry(30, "host.heartbeat", replicas=pending),
            entry(34, "component.transitioned", to_state="starting"),
            entry(46, "component.transitioned", to_state="ready"),
        ],
        commands=[entry(29, "replica.start")],
    )  # fmt: skip

    assert list(found) == list(STEPS)
    assert [round(passed_ms) for passed_ms in found.values()] == [4, 5, 8, 27, 29, 34, 46]


def test_what_other_components_do_meanwhile_is_no_step() -> None:
    """A neighbour's transition is left out."""
    neighbour = entry(5, "component.transitioned", to_state="ready")
    neighbour[1]["component"] = "writer"

    assert trail("critic", killed_s=KILLED_S, anchor_lines=[], events=[neighbour], commands=[]) == {}
