"""`ctl compare`: runs the backend in several ways, one after the other, and prints their figures."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from control_plane.cli.show import Cell, print_json, style_of, table
from control_plane.cli.values import positive_duration_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from control_plane.comparison.figures import Comparison, Figures

NAME = "compare"
HELP = "Run the backend in several ways, and compare start, memory, CPU and latency."
EXAMPLES = """\
ctl compare                              single beside multi, three launches each
ctl compare legacy single --url http://127.0.0.1:8000 --path /items
ctl compare single multi hybrid --runs 5 --json
"""
WAYS = ("single", "multi", "hybrid", "legacy")
OURS = {"single", "multi", "hybrid"}
DEFAULT_WAYS = ("single", "multi")
HEADERS = ("WAY", "LAUNCHES", "FAILED", "READY", "MEMORY", "IDLE CPU", "P50", "P99", "FAILED REQUESTS")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"of {', '.join(WAYS)} (single multi)")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="launches of each way (3)")
    parser.add_argument(
        "--idle", type=positive_duration_s, default=5.0, metavar="S", help="seconds to look at idle CPU (5)"
    )
    parser.add_argument("--requests", type=int, default=200, metavar="N", help="requests a launch (200)")
    parser.add_argument("--path", default="/-/health", help="path that is asked for (/-/health)")
    parser.add_argument("--url", default="", help="where the legacy commands answer; else they are not asked")
    parser.add_argument(
        "--timeout", type=positive_duration_s, default=60.0, metavar="S", help="seconds for a launch (60)"
    )


def run(args: argparse.Namespace) -> int:
    """Compare, and print; 1 where no way came about without a failure."""
    from dataclasses import asdict

    from contracts.errors import ConfigError, ExitCode, did_you_mean
    from control_plane.comparison.figures import compared
    from control_plane.comparison.last import remember
    from control_plane.comparison.trial import try_once
    from control_plane.config import load
    from control_plane.runtime import clock
    from control_plane.runtime.paths import RuntimeDir

    ways = tuple(dict.fromkeys(args.ways or DEFAULT_WAYS))
    for way in ways:
        if way not in WAYS:
            raise ConfigError(f"unknown way '{way}'", why=did_you_mean(way, WAYS), code="E1009")
    if args.runs < 1 or args.requests < 0:
        raise ConfigError("--runs is at least 1, and --requests at least 0", code="E1009")
    loaded = load(Path(args.config) if args.config else None, environ=os.environ, cwd=Path.cwd())
    trials = []
    for number in range(args.runs):
        for way in ways:  # in turn: what else the machine does falls on all of them
            print(f"{way}, launch {number + 1} of {args.runs} ...", file=sys.stderr, flush=True)
            trials.append(
                try_once(
                    way,
                    loaded.path,
                    idle_s=args.idle,
                    requests=args.requests,
                    path=args.path,
                    url=args.url,
                    timeout_s=args.timeout,
                )
            )
    comparison = compared(trials)
    decides = bool(comparison.recommended) and len(OURS & set(ways)) > 1
    if decides:
        remember(RuntimeDir.open(loaded.project, os.environ).home, comparison, clock.utc_now())
    if args.json:
        print_json(asdict(comparison))
    else:
        print("\n".join(_lines(comparison, decides=decides, no_color=args.no_color)))
    return ExitCode.DONE if comparison.recommended else ExitCode.FAILED


def _lines(comparison: Comparison, *, decides: bool, no_color: bool) -> Iterator[str]:
    style = style_of(sys.stdout, no_color=no_color)
    yield from table(HEADERS, [_row(figures) for figures in comparison.figures], style)
    yield ""
    for figures in comparison.figures:
        if figures.error:
            yield f"{figures.way}: {style.harmless(figures.error)}"
    best = comparison.recommended
    yield f"{style.paint(best, 'bold')}: {comparison.why}" if best else comparison.why
    if decides and best in OURS:
        yield "`ctl launch --mode auto` goes by this from now on"


def _row(figures: Figures) -> list[Cell]:
    return [
        Cell(figures.way),
        Cell(str(figures.launches), right=True),
        Cell(str(figures.failed_launches), right=True),
        _figure(figures.start_s, "{:.2f} s"),
        _figure(figures.memory_mb, "{:.0f} MB"),
        _figure(figures.cpu_percent, "{:.1f} %"),
        _figure(figures.p50_ms, "{:.2f} ms"),
        _figure(figures.p99_ms, "{:.2f} ms"),
        Cell(str(figures.failed_requests), right=True),
    ]


def _figure(value: float | None, form: str) -> Cell:
    return Cell("-" if value is None else form.format(value), right=True)
