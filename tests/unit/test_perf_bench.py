"""What a benchmark calls reached, worse, or noise, and how it is drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from perf.bars import bar_chart
from perf.bench_check import baselines_of, regressions
from perf.bench_report import write_report
from perf.goals import GOALS, Goal, outcomes
from perf.record import Record


def recorded(**systems: list[float]) -> Record:
    """Return a record of starts, by system."""
    record = Record()
    for system, samples in systems.items():
        for sample in samples:
            record.add("start_s", system, sample)
    return record


def start(record: Record, system: str, of: str) -> tuple[float, bool]:
    """Return the ratio of two starts, and whether it is good enough."""
    found = next(one for one in outcomes(record) if (one.goal.system, one.goal.of) == (system, of))
    return round(found.value, 3), found.goal.reached(found.value)


class TestGoals:
    def test_a_ratio_is_the_median_of_those_of_the_rounds(self) -> None:
        """Where the machine halves its speed after the first round, nothing has changed."""
        record = recorded(multi=[1.4, 2.0, 3.0], floor=[1.0, 2.0, 2.0])
        assert start(record, "multi", "floor") == (1.4, True)

    def test_the_best_peer_is_the_one_with_the_lowest_median(self) -> None:
        record = recorded(multi=[1.0], circus=[8.0], honcho=[5.0], supervisord=[6.0])
        assert start(record, "multi", "best peer") == (0.2, True)

    def test_where_much_is_good_a_bound_is_one_from_below(self) -> None:
        goal = Goal("requests/s", "local_rps", "coplane", 0.9, of="fastapi", at_least=True)
        assert [goal.reached(value) for value in (0.89, 0.9)] == [False, True]

    def test_what_was_not_measured_has_no_outcome(self) -> None:
        assert {one.goal.of for one in outcomes(recorded(multi=[1.0]))} == set()

    def test_no_two_goals_are_called_alike(self) -> None:
        names = [goal.name for goal in GOALS]
        assert len(set(names)) == len(names)


class TestCheck:
    @pytest.mark.parametrize(("now", "worse"), [(1.5, False), (1.9, False), (2.5, True), (0.5, False)])
    def test_names_what_is_worse_by_more_than_the_tolerance(self, now: float, worse: bool) -> None:
        before = baselines_of(recorded(multi=[1.5] * 3, floor=[1.0] * 3))
        found = list(regressions(recorded(multi=[now] * 3, floor=[1.0] * 3), before, tolerance=0.3))
        assert [line.partition(":")[0] for line in found] == ["cold start, multi, of floor"] * worse

    def test_what_noise_explains_is_not_named(self) -> None:
        before = baselines_of(recorded(multi=[1.5] * 3, floor=[1.0] * 3))
        noisy = recorded(multi=[1.4, 2.5, 2.6], floor=[1.0] * 3)
        assert list(regressions(noisy, before, tolerance=0.3)) == []

    def test_what_has_no_baseline_is_not_judged(self) -> None:
        assert list(regressions(recorded(multi=[9.0], floor=[1.0]), {}, tolerance=0.0)) == []


class TestReport:
    def test_it_has_a_line_for_each_goal_and_says_what_was_missed_and_left_out(self, tmp_path: Path) -> None:
        record = recorded(multi=[2.0], single=[1.0], floor=[1.0])
        record.leave_out("nginx", "not installed")
        report = write_report(record, tmp_path, duration_s=1)
        assert "| cold start, multi | floor | 2.00 (2.00 to 2.00) | at most 1.6 | **no** |" in report
        assert "| cold start, single | floor | 1.00 (1.00 to 1.00) | at most 1.25 | yes |" in report
        assert "- **cold start, multi, of floor**: 25% beyond its bound. Imports come first" in report
        assert "- **cold start, single" not in report
        assert "Left out, nginx: not installed" in report
        assert (tmp_path / "bench.md").read_text() == report

    def test_a_bar_is_as_long_as_its_value(self) -> None:
        chart = ElementTree.fromstring(bar_chart("a < b", {"multi": 1.0, "floor": 2.0}))
        bars = chart.findall("{http://www.w3.org/2000/svg}rect")[1:]
        assert float(bars[1].attrib["width"]) == pytest.approx(2 * float(bars[0].attrib["width"]), rel=0.01)
