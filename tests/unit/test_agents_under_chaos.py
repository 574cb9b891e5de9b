"""Whatever order, number of times or number of attempts it takes: one request gives one story."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.agents.story.models import StoryRequest
from components.agents.story.steps import Progress, Step
from tests.support.in_memory_backend import Backend, Chaos

REQUEST = StoryRequest(
    title="The Keeper of Small Hours", premise="A lighthouse keeper finds a map.", chapters=2, seed=3
)


def write(
    request: StoryRequest, chaos: Chaos | None = None, *, key: str = "a key"
) -> tuple[str, list[Progress]]:
    """Return the text of a story and the progress of it, as a client sees them at the end."""
    backend = Backend(chaos)
    [story_id] = backend.post(request, key=key)
    return backend.text(story_id), backend.progress(story_id, chapters=request.chapters)


def watched_by_a_client(backend: Backend) -> list[Progress]:
    """Look at the progress after every turn; fail if anything already seen is taken back or reordered."""
    seen: list[Progress] = []

    def look() -> None:
        for key in [key for key in backend.state.hashes if key.endswith(":steps")]:
            now = backend.progress(key.split(":")[1], chapters=REQUEST.chapters)
            assert now[: len(seen)] == seen, f"at turn {backend.turns}"
            seen[:] = now

    backend.on_turn = look
    return seen


def test_a_kill_at_any_line_of_any_agent_changes_nothing() -> None:
    """Every turn of the whole story is tried: before and after each effect on state and streams.

    What was killed is delivered again behind everything that waits, so what it had told overtakes it.
    """
    undisturbed = write(REQUEST)
    for turn in count(1):
        backend = Backend(Chaos(kill_at_turn=turn))
        seen = watched_by_a_client(backend)
        [story_id] = backend.post(REQUEST)
        assert (backend.text(story_id), seen) == undisturbed, f"killed at turn {turn}"
        if turn > backend.turns:
            break
    assert turn > 100


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(min_value=0, max_value=2**32),
    duplicate_chance=st.sampled_from([0.0, 0.1, 0.3]),
    kill_chance=st.sampled_from([0.0, 0.01, 0.05]),
    at_once=st.integers(min_value=1, max_value=12),
)
def test_every_schedule_gives_the_same_bytes(
    seed: int, duplicate_chance: float, kill_chance: float, at_once: int
) -> None:
    chaos = Chaos(seed=seed, duplicate_chance=duplicate_chance, kill_chance=kill_chance, at_once=at_once)
    assert write(REQUEST, chaos) == write(REQUEST)


@pytest.mark.parametrize("seed", range(10))
def test_what_a_client_has_seen_is_never_taken_back_or_reordered(seed: int) -> None:
    """So a client that resumes after an id misses nothing and sees nothing twice."""
    backend = Backend(Chaos(seed=seed, duplicate_chance=0.1, kill_chance=0.02, at_once=8))
    seen = watched_by_a_client(backend)
    backend.post(REQUEST)
    assert [one.id for one in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].step is Step.FINISHED


def test_the_text_does_not_depend_on_the_id_of_the_story() -> None:
    assert write(REQUEST, key="one") == write(REQUEST, key="another")


@pytest.mark.parametrize(
    "change", [{"title": "Another"}, {"premise": "Another one."}, {"chapters": 3}, {"seed": 4}]
)
def test_the_text_depends_on_everything_that_was_asked_for(change: dict[str, object]) -> None:
    assert write(REQUEST.model_copy(update=change))[0] != write(REQUEST)[0]


def test_the_longest_story_is_finished_with_a_step_for_every_chapter() -> None:
    request = REQUEST.model_copy(update={"chapters": 50})
    _, progress = write(request, Chaos(seed=1, at_once=8))
    checked = [one.chapter for one in progress if one.step is Step.CHECKED]
    assert checked == list(range(1, 51))


def test_many_stories_at_once_do_not_mix() -> None:
    requests = [REQUEST.model_copy(update={"seed": seed}) for seed in range(5)]
    backend = Backend(Chaos(seed=2, duplicate_chance=0.1, at_once=8))
    ids = backend.post(*requests)
    assert [backend.text(story_id) for story_id in ids] == [write(request)[0] for request in requests]
