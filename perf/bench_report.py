"""Writes what `perf.bench` measured as Markdown, with a bar chart for each measurement."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from perf.bars import bar_chart
from perf.figures import machine, spread
from perf.findings import finding
from perf.goals import Outcome, outcomes
from perf.record import Record

UNITS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "mb": "megabytes",
    "percent": "% of one core",
    "rps": "requests a second",
    "per_s": "messages a second",
    "intervals": "heartbeat intervals",
}


def write_report(record: Record, folder: Path, *, duration_s: int) -> str:
    """Write `bench.md` and the plots; return the report."""
    for name, systems in record.samples.items():
        medians = {system: statistics.median(samples) for system, samples in systems.items()}
        (folder / f"bench-{_slug(name)}.svg").write_text(bar_chart(_title(name), medians))
    report = "\n".join(_lines(record, duration_s)) + "\n"
    (folder / "bench.md").write_text(report)
    return report


def _lines(record: Record, duration_s: int) -> Iterable[str]:
    yield from (
        "# Coplane beside its peers",
        "",
        f"{machine()}; {duration_s} s in all. Every figure compares systems that were measured in turn, "
        "in the same rounds. How and why: docs/benchmarks.md.",
        "",
    )
    yield from (f"Left out, {what}: {why}\n" for what, why in record.left_out.items())
    yield from (
        "| goal | compared with | median of the rounds (lowest to highest) | bound | reached |",
        "|" + " --- |" * 5,
    )
    reached = list(outcomes(record))
    yield from map(_goal, reached)
    yield from _missed([outcome for outcome in reached if not outcome.goal.reached(outcome.value)])
    for name, systems in record.samples.items():
        yield from _measurement(name, systems)
    yield from (
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in record.versions.items()),
    )


def _goal(outcome: Outcome) -> str:
    goal = outcome.goal
    measured = f"{outcome.value:.2f} ({outcome.lowest:.2f} to {outcome.highest:.2f})"
    bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:g}"
    compared = goal.of + (f", {_title(goal.of_measurement)}" if goal.of_measurement else "")
    reached = "yes" if goal.reached(outcome.value) else "**no**"
    return f"| {goal.what} | {compared} | {measured} | {bound} | {reached} |"


def _missed(missed: Sequence[Outcome]) -> Iterable[str]:
    """Say by how much each goal was missed, and what its profile says."""
    if not missed:
        return
    yield from ("", "## Missed", "")
    for outcome in missed:
        goal = outcome.goal
        beyond = f"{goal.worse_by(outcome.value, goal.bound):.0%} beyond its bound"
        yield f"- **{goal.name}**: {beyond}. {finding(goal)}".rstrip()


def _measurement(name: str, systems: Mapping[str, Sequence[float]]) -> Iterable[str]:
    yield from ("", f"## {_title(name)}", "", f"![{_title(name)}](bench-{_slug(name)}.svg)", "")
    yield from ("| system | median (lowest to highest) | samples |", "| --- | --- | --- |")
    for system, samples in systems.items():
        yield f"| {system} | {spread(samples)} | {len(samples)} |"


def _title(name: str) -> str:
    unit = next(unit for unit in sorted(UNITS, key=len, reverse=True) if name.endswith(f"_{unit}"))
    return f"{name.removesuffix(f'_{unit}').replace('_', ' ')}, {UNITS[unit]}"


def _slug(name: str) -> str:
    return name.replace("_", "-")
