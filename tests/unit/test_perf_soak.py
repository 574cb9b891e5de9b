"""What a soak calls growth, and how it is drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from perf import counted, growth
from perf.growth import MIB
from perf.plot import line_chart
from perf.soak_report import judge, kept
from tests.chaos.stage import COMPONENTS
from tests.support.backend import DEMO

WARM_UP = [1.0, 30.0, 60.0]


def line(*values: float) -> list[tuple[float, float]]:
    return [(minute, value) for minute, value in enumerate(values)]


class TestGrowth:
    """The second quarter of the time against the last."""

    def test_what_is_reached_in_the_warm_up_is_no_growth(self) -> None:
        assert growth.counted("x", [*WARM_UP, *[60.0] * 9], slack=0).within

    def test_what_goes_on_growing_is(self) -> None:
        assert not growth.counted("x", [float(at) for at in range(100)], slack=8).within

    def test_a_peak_in_between_is_no_growth(self) -> None:
        assert growth.counted("x", [10.0] * 6 + [900.0] + [10.0] * 6, slack=8).within

    @pytest.mark.parametrize(("late_mib", "within"), [(23.9, True), (24.1, False)])
    def test_a_small_process_may_gain_four_mebibytes(self, late_mib: float, within: bool) -> None:
        samples = [20.0 * MIB] * 8 + [late_mib * MIB] * 4

        assert growth.memory("x", samples).within is within

    @pytest.mark.parametrize(("late_mib", "within"), [(114.0, True), (116.0, False)])
    def test_a_large_one_fifteen_per_cent(self, late_mib: float, within: bool) -> None:
        samples = [100.0 * MIB] * 8 + [late_mib * MIB] * 4

        assert growth.memory("x", samples).within is within

    def test_valkey_may_gain_what_the_streams_hold_more(self) -> None:
        samples = {
            "memory": {"valkey": line(*[10.0 * MIB] * 8, *[22.0 * MIB] * 4)},
            "streams": {"novel:bus:x": line(*[0.0] * 8, *[9_000.0] * 4)},
            "descriptors": {},
            "tasks": {},
        }
        assert [one.within for one in judge(samples)["memory"]] == [True]

        samples["streams"] = {}
        assert [one.within for one in judge(samples)["memory"]] == [False]

    def test_a_stream_is_judged_by_its_longest(self) -> None:
        assert not growth.stream("x", [10.0] * 6 + [10_200.0] + [10.0] * 6, kept=10_000).within

    @pytest.mark.parametrize(
        ("stream", "entries"),
        [
            ("novel:dead:chapter.drafted", 0),
            ("novel:ctl:requests", 1_000),
            ("novel:ctl:commands:writer", 1_000),
            ("novel:ctl:events", 10_000),
            ("novel:bus:chapter.drafted", 10_000),
        ],
    )
    def test_each_kind_of_stream_has_its_length(self, stream: str, entries: int) -> None:
        assert kept(stream) == entries

    def test_one_dead_letter_is_too_many(self) -> None:
        assert not growth.stream("novel:dead:x", [0.0] * 8 + [1.0], kept=0).within


class TestChart:
    """An SVG by hand."""

    def test_it_is_well_formed_and_has_a_line_for_each_series(self) -> None:
        chart = line_chart("<Memory> & more", "MiB", {"a&b": line(1, 2, 3), "c": line(3, 2)})

        found = ElementTree.fromstring(chart)
        lines = found.findall("{http://www.w3.org/2000/svg}polyline")
        assert [len((each.get("points") or "").split()) for each in lines] == [3, 2]

    def test_the_highest_value_is_at_the_top_and_nothing_is_outside(self) -> None:
        chart: Any = ElementTree.fromstring(line_chart("x", "", {"a": line(0, 5, 10)}))

        (drawn,) = chart.findall("{http://www.w3.org/2000/svg}polyline")
        heights = [float(point.partition(",")[2]) for point in drawn.get("points").split()]
        assert heights == sorted(heights, reverse=True)
        assert heights[-1] == 40.0

    def test_nothing_to_draw_is_drawn_all_the_same(self) -> None:
        ElementTree.fromstring(line_chart("x", "", {}))


def test_every_component_of_the_demo_has_one_that_counts() -> None:
    source = counted.counting(DEMO.read_text())

    named = [line.split(":")[-1].strip('"') for line in source.splitlines() if line.startswith("use = ")]
    assert len(named) == len(COMPONENTS) - 1  # `Echo` is no part of the demo
    assert all(issubclass(getattr(counted, name), counted.Counting) for name in named)
