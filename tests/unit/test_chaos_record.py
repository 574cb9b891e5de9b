"""Which failures a fault excuses, and how long a recovery took."""

from __future__ import annotations

from math import inf

import pytest

from tests.chaos.record import (
    BUS,
    EVERYTHING,
    MARGIN_S,
    Injected,
    Request,
    Run,
    Story,
    recovery_s,
    slow_recoveries,
    unexcused,
)
from tests.chaos.schedule import Fault, Kind


def fault(
    kind: Kind,
    *touched: str,
    began_s: float = 10.0,
    ended_s: float | None = None,
    recovered_s: float = 12.0,
    lasts_s: float = 0.0,
) -> Injected:
    return Injected(
        Fault(1, began_s, kind, lasts_s=lasts_s),
        began_s,
        touched=frozenset(touched),
        ended_s=began_s if ended_s is None else ended_s,
        recovered_s=recovered_s,
    )


def failed(component: str, sent_s: float, ended_s: float, *, needs_bus: bool = False) -> Request:
    return Request("card", component, sent_s, ended_s, "it broke", needs_bus)


def is_excused(request: Request, *injected: Injected) -> bool:
    return not unexcused(Run(1, (), requests=[request], injected=list(injected)))


class TestExcuses:
    """When a failed request counts."""

    def test_a_failure_without_a_fault_counts(self) -> None:
        assert not is_excused(failed("writer", 11, 11.1))

    def test_an_answer_never_counts(self) -> None:
        assert is_excused(Request("card", "writer", 11, 11.1))

    @pytest.mark.parametrize("component", ["writer", "critic"])
    def test_a_killed_host_excuses_whoever_was_in_it_and_nobody_else(self, component: str) -> None:
        killed = fault(Kind.HOST_KILLED, "writer", "rewriter")

        assert is_excused(failed(component, 11, 11.1), killed) is (component == "writer")

    def test_a_dead_gateway_excuses_everybody(self) -> None:
        assert is_excused(failed("writer", 11, 11.1), fault(Kind.HOST_KILLED, "gateway"))

    def test_a_dead_anchor_excuses_everybody(self) -> None:
        assert is_excused(failed("writer", 11, 11.1), fault(Kind.ANCHOR_KILLED, *EVERYTHING))

    @pytest.mark.parametrize("needs_bus", [True, False])
    def test_the_bus_excuses_only_who_needs_it(self, needs_bus: bool) -> None:
        request = failed("director", 11, 11.1, needs_bus=needs_bus)

        assert is_excused(request, fault(Kind.BUS_KILLED, BUS)) is needs_bus

    @pytest.mark.parametrize(
        "kind",
        [
            Kind.CONTROL_PLANE_KILLED,
            Kind.CONTROL_PLANE_PAUSED,
            Kind.ANCHOR_PAUSED,
            Kind.RESTARTED,
            Kind.SCALED,
            Kind.MOVED,
        ],
    )
    def test_what_touches_nothing_excuses_nothing(self, kind: Kind) -> None:
        assert not is_excused(failed("writer", 11, 11.1), fault(kind))

    @pytest.mark.parametrize(
        ("sent_s", "ended_s", "excused"),
        [
            (1.0, 10 - MARGIN_S - 0.1, False),
            (1.0, 10.1, True),
            (11.0, 30.0, True),
            (12 + MARGIN_S + 0.1, 30.0, False),
        ],
    )
    def test_a_fault_is_felt_from_its_beginning_until_the_state_has_converged(
        self, sent_s: float, ended_s: float, excused: bool
    ) -> None:
        killed = fault(Kind.HOST_KILLED, "writer", began_s=10, recovered_s=12)

        assert is_excused(failed("writer", sent_s, ended_s), killed) is excused


class TestConvergence:
    """When a recovery was too slow."""

    def test_within_ten_seconds_is_in_time(self) -> None:
        assert not slow_recoveries(Run(1, (), injected=[fault(Kind.HOST_KILLED, recovered_s=19.9)]))

    @pytest.mark.parametrize("recovered_s", [20.1, inf])
    def test_later_or_never_is_not(self, recovered_s: float) -> None:
        told = slow_recoveries(Run(1, (), injected=[fault(Kind.HOST_KILLED, recovered_s=recovered_s)]))

        assert len(told) == 1

    def test_a_pause_counts_from_its_end(self) -> None:
        paused = fault(Kind.BUS_PAUSED, ended_s=18, recovered_s=27, lasts_s=8)

        assert not slow_recoveries(Run(1, (), injected=[paused]))

    def test_the_time_begins_anew_with_every_further_fault(self) -> None:
        injected = [
            fault(Kind.HOST_KILLED, began_s=10, recovered_s=25),
            fault(Kind.HOST_KILLED, began_s=16, recovered_s=25),
        ]

        assert not slow_recoveries(Run(1, (), injected=injected))

    def test_a_fault_that_comes_when_the_time_is_over_does_not_help(self) -> None:
        injected = [
            fault(Kind.HOST_KILLED, began_s=10, recovered_s=25),
            fault(Kind.HOST_KILLED, began_s=21, recovered_s=25),
        ]

        assert len(slow_recoveries(Run(1, (), injected=injected))) == 1

    def test_a_pause_that_goes_on_lets_the_others_wait(self) -> None:
        """The state cannot converge while the bus is paused, whenever that began."""
        injected = [
            fault(Kind.BUS_PAUSED, began_s=10, ended_s=18, recovered_s=27),
            fault(Kind.HOST_KILLED, began_s=11, recovered_s=27),
        ]

        assert not slow_recoveries(Run(1, (), injected=injected))


class TestRecoveryTimes:
    """What goes into the report."""

    def test_only_faults_that_none_other_overlapped_are_measured(self) -> None:
        injected = [
            fault(Kind.HOST_KILLED, began_s=10, recovered_s=10.5),
            fault(Kind.HOST_KILLED, began_s=20, recovered_s=22),
            fault(Kind.BUS_KILLED, began_s=21, recovered_s=22),
        ]

        assert recovery_s(Run(1, (), injected=injected)) == {Kind.HOST_KILLED: [0.5]}

    def test_a_pause_is_measured_from_its_end_and_an_operators_wish_from_its_beginning(self) -> None:
        injected = [
            fault(Kind.HOST_PAUSED, began_s=10, ended_s=14, recovered_s=14.5, lasts_s=4),
            fault(Kind.RESTARTED, began_s=20, ended_s=21, recovered_s=21.5),
        ]

        assert recovery_s(Run(1, (), injected=injected)) == {
            Kind.HOST_PAUSED: [0.5],
            Kind.RESTARTED: [1.5],
        }


@pytest.mark.parametrize(
    ("asked_s", "ended_s", "emptied"),
    [(1, 9, False), (1, 10.5, True), (9, inf, True), (10.5, 12, True), (11.1, inf, False)],
)
def test_only_stories_under_way_are_lost_when_the_bus_is_emptied(
    asked_s: float, ended_s: float, emptied: bool
) -> None:
    run = Run(1, (), injected=[fault(Kind.BUS_FLUSHED, BUS, began_s=10, ended_s=11)])

    assert run.was_emptied(Story("key", 1, asked_s=asked_s, ended_s=ended_s)) is emptied


def test_the_bus_counts_as_emptied_when_that_is_done() -> None:
    run = Run(1, (), injected=[fault(Kind.BUS_FLUSHED, BUS, began_s=10, ended_s=11)])

    assert run.flushed_s == 11
    assert Run(1, ()).flushed_s == -inf
