"""A recorded run replays to the state it ended in, with the code of today."""

from __future__ import annotations

import json
from pathlib import Path

from control_plane.core.reducer import reduce
from control_plane.core.status import is_stopped
from tests.property.recording import STATE, decode, record, story

GOLDEN = Path(__file__).parents[1] / "golden" / "core" / "replay.json"


def test_the_golden_recording_replays_to_the_same_state() -> None:
    """On failure a running control plane would now decide otherwise: record anew only if that is meant."""
    golden = json.loads(GOLDEN.read_text())
    state = STATE.validate_python(golden["first"])
    for step in golden["steps"]:
        now_s, jitter = step.pop("now_s"), step.pop("jitter")
        state, _ = reduce(state, decode(step), now_s=now_s, jitter=jitter)
    assert state == STATE.validate_python(golden["last"])


def test_the_golden_recording_is_what_the_simulated_story_gives_today() -> None:
    """Covers the plans too: their effects are part of the recording."""
    today, golden = json.loads(record()), json.loads(GOLDEN.read_text())
    assert today["steps"] == golden["steps"]
    for end in ("first", "last"):
        # As states: one that was recorded before a field was added has its default.
        assert STATE.validate_python(today[end]) == STATE.validate_python(golden[end])


def test_the_recorded_story_ends_with_everything_stopped() -> None:
    assert is_stopped(story().state)
