"""A schedule of faults follows from its seed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chaos import schedule
from tests.chaos.schedule import BETWEEN_ANCHOR_DEATHS_S, LONGEST_PAUSE_S, OF_COMPONENTS, PAUSES, Fault, Kind

COMPONENTS = ("gateway", "writer")
SEEDS = st.integers(0, 2**32)


def made(seed: int, *, count: int = 300) -> tuple[Fault, ...]:
    return schedule.make_schedule(seed, components=COMPONENTS, places=("writing",), count=count)


@settings(deadline=None)
@given(SEEDS)
def test_the_same_seed_gives_the_same_faults_at_the_same_times(seed: int) -> None:
    assert made(seed, count=50) == made(seed, count=50)


def test_another_seed_gives_other_faults() -> None:
    assert made(1) != made(2)


def test_a_longer_run_begins_as_a_shorter_one() -> None:
    """A failure late in a long run can be looked for in a run that ends soon after it."""
    assert made(5, count=300)[:40] == made(5, count=40)


def test_a_run_by_time_ends_in_time_and_one_by_count_has_that_many() -> None:
    by_time = schedule.make_schedule(7, components=COMPONENTS, places=(), duration_s=120)

    assert 110 < by_time[-1].at_s < 120
    assert len(made(7, count=200)) == 200


def test_only_the_kinds_that_were_asked_for_come() -> None:
    faults = schedule.make_schedule(
        3, components=COMPONENTS, places=(), count=50, kinds=[Kind.BUS_PAUSED, Kind.HOST_KILLED]
    )

    assert {fault.kind for fault in faults} == {Kind.BUS_PAUSED, Kind.HOST_KILLED}


def test_every_kind_comes_in_a_long_run() -> None:
    assert {fault.kind for fault in made(1)} == set(Kind)


@pytest.mark.parametrize("seed", range(5))
def test_a_fault_has_what_its_kind_needs_and_nothing_else(seed: int) -> None:
    for fault in made(seed):
        assert bool(fault.component) == (fault.kind in OF_COMPONENTS)
        assert bool(fault.replicas) == (fault.kind is Kind.SCALED)
        assert bool(fault.place) == (fault.kind is Kind.MOVED)
        assert fault.kind not in PAUSES or 0 < fault.lasts_s <= LONGEST_PAUSE_S
        assert 0 <= fault.chance < 1


@settings(deadline=None)
@given(SEEDS)
def test_anchors_do_not_die_so_often_that_the_launch_gives_up(seed: int) -> None:
    deaths = [fault.at_s for fault in made(seed) if fault.kind is Kind.ANCHOR_KILLED]

    assert all(b - a >= BETWEEN_ANCHOR_DEATHS_S for a, b in itertools.pairwise(deaths))
