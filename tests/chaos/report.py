"""The report of a run, as Markdown and as JSON."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from math import inf
from typing import Any

from perf.figures import REPORTS, machine, p90
from tests.chaos.driver import Outcome
from tests.chaos.record import Run, recovery_s, unexcused
from tests.chaos.schedule import Kind


def write_report(outcome: Outcome, *, keep: bool) -> str:
    """Return the report as Markdown; with `keep`, write it to `perf/reports`."""
    figures = figures_of(outcome)
    text = render(figures)
    if keep:
        REPORTS.mkdir(exist_ok=True)
        (REPORTS / "chaos.md").write_text(text)
        (REPORTS / "chaos.json").write_text(json.dumps(figures, indent=1) + "\n")
    return text


def figures_of(outcome: Outcome) -> dict[str, Any]:
    """Return what is worth keeping of a run."""
    run = outcome.run
    unfinished = [one for one in run.stories if one.asked_s < inf and one.finished_s == inf]
    return {
        "seed": run.seed,
        "duration_s": round(run.duration_s, 1),
        "machine": machine(),
        "faults": _faults(run),
        "stories": {
            "accepted": sum(story.accepted_s < inf for story in run.stories),
            "under way when the bus was emptied": sum(map(run.was_emptied, unfinished)),
            "finished once with the right bytes": sum(one.finished_s < inf for one in run.stories),
            "lost, doubled or wrong": sum(not run.was_emptied(one) for one in unfinished),
        },
        "requests": _requests(run),
        "failures that no fault excuses": len(unexcused(run)),
        "invariants": {name: len(evidence) for name, evidence in outcome.violations.items()},
        "schedule": [
            {
                "fault": str(one.fault),
                "began_s": round(one.began_s, 2),
                "ended_s": _finite(one.ended_s),
                "recovered_s": _finite(one.recovered_s),
                "note": one.note,
            }
            for one in run.injected
        ],
    }


def _faults(run: Run) -> dict[str, dict[str, Any]]:
    count = Counter(one.fault.kind for one in run.injected)
    alone = recovery_s(run)
    return {str(kind): {"count": count[kind], **_spread(alone.get(kind, []))} for kind in Kind if count[kind]}


def _spread(values: list[float]) -> dict[str, Any]:
    if not values:
        return {"alone": 0}
    median_s = statistics.median(values)
    told = {"median_s": median_s, "p90_s": p90(values), "max_s": max(values)}
    return {"alone": len(values), **{name: round(value, 2) for name, value in told.items()}}


def _requests(run: Run) -> dict[str, dict[str, int]]:
    asked = Counter(one.kind for one in run.requests)
    failed = Counter(one.kind for one in run.requests if one.failure)
    return {kind: {"asked": asked[kind], "failed": failed[kind]} for kind in sorted(asked)}


def _finite(value: float) -> float | None:
    return round(value, 2) if value < inf else None


def render(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    faults: dict[str, dict[str, Any]] = figures["faults"]
    lines = [
        "# Chaos",
        "",
        f"{figures['machine']}. The demo backend in multi mode for {figures['duration_s'] / 60:.1f} minutes, "
        f"seed {figures['seed']}: {sum(one['count'] for one in faults.values())} faults. See docs/chaos.md.",
        "",
        "| fault | how many | of them alone | back: median, s | p90, s | max, s |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| {kind} | {one['count']} | {one['alone']} | "
            + " | ".join(f"{one[name]:.2f}" if name in one else "" for name in ("median_s", "p90_s", "max_s"))
            + " |"
            for kind, one in faults.items()
        ),
        "",
        "Back: from the fault, or from the end of a pause, until the state had converged; of faults that no "
        "other one overlapped.",
        "",
        *(f"- stories {name}: {count}" for name, count in figures["stories"].items()),
        f"- failures that no fault excuses: {figures['failures that no fault excuses']}",
        "",
        "| requests | asked | failed |",
        "| --- | --- | --- |",
        *(f"| {kind} | {one['asked']} | {one['failed']} |" for kind, one in figures["requests"].items()),
        "",
        "| invariant | against it |",
        "| --- | --- |",
        *(f"| {name} | {count} |" for name, count in figures["invariants"].items()),
    ]
    return "\n".join(lines) + "\n"
