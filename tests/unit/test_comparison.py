"""What trials come to, and which way they speak for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.specs import Mode
from control_plane.comparison.figures import compared
from control_plane.comparison.last import NAME, last_comparison, remember
from control_plane.comparison.trial import Trial


def trial(way: str, memory_mb: float = 100.0, **more: Any) -> Trial:
    fields: dict[str, Any] = {"start_s": 1.0, "cpu_percent": 0.1, "latencies_ms": (1.0,) * 100}
    return Trial(way, memory_mb=memory_mb, **{**fields, **more})


def test_figures_are_medians_of_the_launches_that_came_about() -> None:
    trials = [
        trial("single", 90, start_s=1.0),
        trial("single", 110, start_s=9.0),
        trial("single", 100, start_s=2.0),
        Trial("single", error="E2001 port 8000 is taken"),
    ]
    (figures,) = compared(trials).figures
    assert (figures.launches, figures.failed_launches, figures.error) == (4, 1, "E2001 port 8000 is taken")
    assert (figures.start_s, figures.memory_mb, figures.p50_ms) == (2.0, 100, 1.0)


def test_the_smallest_that_is_not_slow_is_recommended_with_its_figures() -> None:
    found = compared([trial("multi", 250), trial("single", 100), trial("hybrid", 200)])
    assert found.recommended == "single"
    assert found.why.startswith("60 % less memory than multi (100 MB to 250 MB), ready after 1.0 s to 1.0 s")
    assert "50 % less memory than hybrid" in found.why


@pytest.mark.parametrize(
    "worse",
    [
        {"latencies_ms": (2.1,) * 100},
        {"failed": 1},
        {"error": "it did not start"},
    ],
    ids=["slow", "failed requests", "failed launch"],
)
def test_what_is_small_and_not_sound_is_not_recommended(worse: dict[str, Any]) -> None:
    assert compared([trial("single", 50, **worse), trial("multi", 250)]).recommended == "multi"


def test_what_is_not_recommended_is_told_why() -> None:
    slow, bad = trial("single", 50, latencies_ms=(10.0,) * 100), Trial("hybrid", error="no")
    found = compared([slow, trial("multi", 300, latencies_ms=(2.0,) * 100), bad])
    assert (found.recommended, found.why) == ("multi", "single is too slow (10.0 ms); hybrid failed")


def test_where_nothing_came_about_nothing_is_recommended() -> None:
    found = compared([Trial("single", error="no"), Trial("multi", error="no")])
    assert (found.recommended, found.why) == ("", "no way came about without a failure")


def test_the_last_comparison_is_what_auto_goes_by(tmp_path: Path) -> None:
    assert last_comparison(tmp_path) is None

    remember(tmp_path, compared([trial("multi", 250), trial("single")]), datetime(2026, 1, 2, tzinfo=UTC))
    found = last_comparison(tmp_path)
    assert found is not None
    assert found[0] is Mode.SINGLE
    assert found[1].startswith("by the comparison of 2026-01-02: 60 % less memory")

    remember(tmp_path, compared([trial("legacy")]), datetime(2026, 1, 2, tzinfo=UTC))
    assert last_comparison(tmp_path) is None  # no mode of ours
    (tmp_path / NAME).write_text("{")
    assert last_comparison(tmp_path) is None
