"""The transition table and the page that is generated from it."""

from __future__ import annotations

from pathlib import Path

from contracts.status import ReplicaState
from control_plane.core.diagram import markdown
from control_plane.core.transitions import MEANINGS, TRANSITIONS, can

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


def test_every_state_has_a_meaning_and_a_way_out() -> None:
    assert set(MEANINGS) == set(TRANSITIONS) == set(ReplicaState)
    assert all(TRANSITIONS.values())


def test_every_state_can_be_reached_from_pending() -> None:
    reached = {ReplicaState.PENDING}
    while more := {target for state in reached for target in TRANSITIONS[state]} - reached:
        reached |= more
    assert reached == set(ReplicaState)


def test_nothing_gets_ready_without_starting() -> None:
    assert not can(ReplicaState.PENDING, ReplicaState.READY)
    assert can(ReplicaState.STARTING, ReplicaState.READY)


def test_the_page_of_states_is_up_to_date() -> None:
    """Run `python -m control_plane.core.diagram > docs/states.md` when it is not."""
    assert PAGE.read_text() == markdown() + "\n"
