"""Launches the demo backend many times in a row, alternating modes, with every core kept busy.

    python -m perf.launches [--runs 100]

A launch counts when it gets ready, stops with exit code 0, and leaves no process, socket or lock.
Writes `perf/reports/launches.md`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from perf.figures import REPORTS, machine, spread
from tests.support.backend import backend

MODES = ("single", "multi", "hybrid")


@contextmanager
def every_core_busy() -> Iterator[None]:
    """Keep one busy loop running for each core."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def launch_once(mode: str) -> tuple[float, float, str]:
    """Launch and stop once; return the durations of both in seconds, and what went wrong."""
    with backend() as novel:
        began_s = time.monotonic()
        launched = novel.ctl("launch", "--detach", "--mode", mode, timeout_s=120)
        ready_s = time.monotonic()
        if launched.returncode != 0:
            return ready_s - began_s, 0.0, f"launch: exit {launched.returncode}: {launched.stderr[-2000:]}"
        stopped = novel.ctl("stop", timeout_s=120)
        stop_s = time.monotonic() - ready_s
        if stopped.returncode != 0:
            return ready_s - began_s, stop_s, f"stop: exit {stopped.returncode}: {stopped.stderr[-2000:]}"
        try:
            novel.assert_nothing_left()
        except AssertionError as exc:
            return ready_s - began_s, stop_s, str(exc)
        return ready_s - began_s, stop_s, ""


def main() -> int:
    """Launch, print and write the report; fail if any launch failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    args = parser.parse_args()
    rows: list[tuple[str, float, float, str]] = []
    with every_core_busy():
        for run in range(args.runs):
            mode = MODES[run % len(MODES)]
            rows.append((mode, *launch_once(mode)))
            if rows[-1][3]:
                print(f"run {run + 1} {mode}: {rows[-1][3]}", file=sys.stderr)
    report = render(rows)
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "launches.md").write_text(report)
    print(report)
    return int(any(problem for *_, problem in rows))


def render(rows: list[tuple[str, float, float, str]]) -> str:
    """Return the report as Markdown."""
    good = [row for row in rows if not row[3]]
    lines = [
        "# Launches in a row on a loaded machine",
        "",
        f"{machine()} with a busy loop on each. `ctl launch --detach` to its return, "
        "then `ctl stop` to its return.",
        "",
        f"{len(good)} of {len(rows)} got ready, stopped cleanly and left nothing.",
        "",
        "| mode | launches | start: median (lowest to highest), s | stop: median (lowest to highest), s |",
        "| --- | --- | --- | --- |",
    ]
    for mode in MODES:
        starts = [start for each, start, _, problem in rows if each == mode and not problem]
        stops = [stop for each, _, stop, problem in rows if each == mode and not problem]
        if starts:
            lines.append(f"| {mode} | {len(starts)} | {spread(starts)} | {spread(stops)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
