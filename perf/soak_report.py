"""Judges what a soak has sampled, and writes its report: text, figures and a plot of each."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from perf import growth
from perf.figures import REPORTS
from perf.growth import MIB, Growth
from perf.plot import line_chart

# What a stream may hold (docs/delivery.md; ctl streams: the *_KEPT constants of the control plane).
KEPT = {"novel:ctl:requests": 1_000, "novel:ctl:probes": 1, "novel:dead:": 0}
KEPT_COMMANDS, KEPT_ELSE = 1_000, 10_000
UNITS = {"memory": "MiB", "descriptors": "", "tasks": "", "streams": "entries"}

Samples = dict[str, dict[str, list[tuple[float, float]]]]


def judge(samples: Samples) -> dict[str, list[Growth]]:
    """Return how everything that was sampled grew."""
    entries = sum(
        growth.ends(_values(line))[1] - growth.ends(_values(line))[0] for line in _of(samples, "streams")
    )
    return {
        "memory": [
            growth.memory(name, _values(line), entries=entries if name == "valkey" else 0)
            for name, line in samples["memory"].items()
        ],
        "descriptors": [
            growth.counted(name, _values(line), slack=growth.DESCRIPTORS_SLACK)
            for name, line in samples["descriptors"].items()
        ],
        "tasks": [
            growth.counted(name, _values(line), slack=growth.TASKS_SLACK)
            for name, line in samples["tasks"].items()
        ],
        "streams": [
            growth.stream(name, _values(line), kept=kept(name)) for name, line in samples["streams"].items()
        ],
    }


def kept(stream: str) -> int:
    """Return how many entries a stream may hold."""
    for prefix, entries in KEPT.items():
        if stream.startswith(prefix):
            return entries
    return KEPT_COMMANDS if ":ctl:commands:" in stream else KEPT_ELSE


def _of(samples: Samples, what: str) -> list[list[tuple[float, float]]]:
    return list(samples[what].values())


def _values(line: list[tuple[float, float]]) -> list[float]:
    return [value for _, value in line]


def write_report(figures: dict[str, Any], samples: Samples, grown: dict[str, list[Growth]]) -> str:
    """Write figures, text and plots; return the text."""
    REPORTS.mkdir(exist_ok=True)
    for what, unit in UNITS.items():
        chart = line_chart(what.capitalize(), unit, _plotted(samples, what))
        (REPORTS / f"soak-{what}.svg").write_text(chart)
    told = {what: [vars(one) | {"within": one.within} for one in ones] for what, ones in grown.items()}
    (REPORTS / "soak.json").write_text(json.dumps({**figures, "growth": told}, indent=1) + "\n")
    text = render(figures, grown)
    (REPORTS / "soak.md").write_text(text)
    return text


def _plotted(samples: Samples, what: str) -> dict[str, list[tuple[float, float]]]:
    """Return the seven highest series, and of memory the sum of all too."""
    scale = MIB if what == "memory" else 1
    lines = {name: [(x, y / scale) for x, y in line] for name, line in samples[what].items()}
    highest = dict(sorted(lines.items(), key=lambda item: -max(_values(item[1])))[:6])
    if what != "memory":
        return highest
    total: dict[float, float] = defaultdict(float)
    for line in lines.values():
        for x, y in line:
            total[x] += y
    return {"all together": sorted(total.items()), **highest}


def render(figures: dict[str, Any], grown: dict[str, list[Growth]]) -> str:
    """Return the report as Markdown."""
    lines = [
        "# Soak",
        "",
        f"{figures['machine']}. The demo backend in multi mode under load for {figures['minutes']} minutes: "
        f"{figures['requests']} requests, of which {len(figures['failed'])} failed; {figures['stories']} "
        f"stories, of which {len(figures['stories not as they should be'])} not as they should be. "
        "See docs/chaos.md.",
        "",
        "After the warm-up: the median of the second quarter of the time. At the end: that of the last "
        "quarter; of a stream, its longest.",
    ]
    for what, ones in grown.items():
        scale = MIB if what == "memory" else 1
        lines += [
            "",
            f"## {what.capitalize()}{f', {UNITS[what]}' if UNITS[what] else ''}",
            "",
            f"![{what}](soak-{what}.svg)",
            "",
            "| of | after the warm-up | at the end | bound | within |",
            "| --- | --- | --- | --- | --- |",
            *(_row(one, scale) for one in ones),
        ]
    return "\n".join(lines) + "\n"


def _row(one: Growth, scale: float) -> str:
    figures = " | ".join(f"{value / scale:.4g}" for value in (one.early, one.late, one.bound))
    return f"| {one.name} | {figures} | {'yes' if one.within else '**no**'} |"
