"""The restart policy: when to try again, and when to stop trying."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.specs import RestartSpec
from control_plane.core.restart_policy import JITTER_SHARE, Finished, GiveUp, Retry, decide

POLICY = RestartSpec(max_restarts=5, window_s=60, backoff_s=0.5, backoff_max_s=1.5)


def test_the_first_restart_inside_the_window_is_immediate() -> None:
    assert decide(POLICY, (100.0,), now_s=100.0) == Retry(100.0)


@pytest.mark.parametrize(("exits", "delay_s"), [(2, 0.5), (3, 1.0), (4, 1.5), (5, 1.5)])
def test_delays_double_up_to_the_maximum(exits: int, delay_s: float) -> None:
    assert decide(POLICY, (100.0,) * exits, now_s=100.0) == Retry(100.0 + delay_s)


def test_one_exit_more_than_allowed_inside_the_window_stops_restarting() -> None:
    decision = decide(POLICY, (100.0,) * 6, now_s=100.0)
    assert decision == GiveUp("crash loop: 6 exits in 60 s")


def test_exits_before_the_window_are_forgotten() -> None:
    assert decide(POLICY, (1.0,) * 50 + (100.0,), now_s=100.0) == Retry(100.0)


def test_a_clean_end_is_final_unless_the_policy_is_always() -> None:
    assert decide(POLICY, (1.0,), now_s=1.0, clean=True) == Finished()
    assert decide(RestartSpec(policy="always"), (1.0,), now_s=1.0, clean=True) == Retry(1.0)


def test_what_a_restart_would_not_mend_is_given_up_at_once() -> None:
    assert isinstance(decide(POLICY, (1.0,), now_s=1.0, permanent=True), GiveUp)


def test_policy_never_gives_up_at_once() -> None:
    assert isinstance(decide(RestartSpec(policy="never"), (1.0,), now_s=1.0), GiveUp)


def test_thousands_of_allowed_restarts_do_not_overflow() -> None:
    policy = RestartSpec(max_restarts=100_000, backoff_s=0.5, backoff_max_s=30)
    assert decide(policy, (1.0,) * 5000, now_s=1.0) == Retry(31.0)


@given(st.integers(1, 5), st.floats(0, 1))
def test_jitter_moves_a_delay_by_a_fifth_at_most(exits: int, jitter: float) -> None:
    plain = decide(POLICY, (0.0,) * exits, now_s=0.0)
    moved = decide(POLICY, (0.0,) * exits, now_s=0.0, jitter=jitter)
    assert isinstance(plain, Retry)
    assert isinstance(moved, Retry)
    assert abs(moved.at_s - plain.at_s) <= plain.at_s * JITTER_SHARE + 1e-9
