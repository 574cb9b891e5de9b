"""Compares the modes of the demo backend side by side: start, memory (PSS), idle CPU, health latency.

    python -m perf.modes [--runs 3] [--idle-s 60]

Each run measures every mode in turn, so that what the machine does meanwhile hits all alike; the
report gives medians and spreads, and writes `perf/reports/modes.md` and `modes.json`. Memory is the
sum of PSS (proportional set size: shared pages are counted once) over every process of the backend,
control plane, anchor and Valkey included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import psutil

from perf.figures import REPORTS, machine, spread
from tests.support.backend import Backend, backend, request
from tests.support.wait import wait_until

MODES = ("single", "multi", "hybrid")
HEALTH_REQUESTS = 200
SETTLE_S = 5.0


def pss_bytes(processes: list[psutil.Process]) -> int:
    """Return the proportional set size of the processes together."""
    return sum(process.memory_full_info().pss for process in processes)


def cpu_s(processes: list[psutil.Process]) -> dict[int, float]:
    """Return the processor time of each process so far, in seconds, by process id."""
    times = ((process.pid, process.cpu_times()) for process in processes)
    return {pid: spent.user + spent.system for pid, spent in times}


def idle_cpu_percent(novel: Backend, idle_s: float) -> float:
    """Return the processor time used in `idle_s` without a request, as a percentage of one core."""
    before, began_s = cpu_s(novel.processes()), time.monotonic()
    wait_until(lambda: time.monotonic() - began_s > idle_s, idle_s + 10, every_s=0.5)
    after, ended_s = cpu_s(novel.processes()), time.monotonic()
    return 100 * sum(after[pid] - before.get(pid, 0.0) for pid in after) / (ended_s - began_s)


def percentile_ms(call: Callable[[], object], *, share: float) -> float:
    """Return the given percentile of the duration of repeated calls, in milliseconds."""
    durations = []
    for _ in range(HEALTH_REQUESTS):
        began_s = time.perf_counter()
        call()
        durations.append((time.perf_counter() - began_s) * 1000)
    return sorted(durations)[int(share * (HEALTH_REQUESTS - 1))]


def measure(mode: str, *, idle_s: float) -> dict[str, float]:
    """Launch the demo backend once, measure it, and stop it."""
    with backend() as novel:
        began_s = time.monotonic()
        ready = novel.ctl_launch_detached(mode)
        start_s = time.monotonic() - began_s
        url = ready["gateway"]["url"]
        health_p99_ms = percentile_ms(lambda: request(f"{url}/-/health"), share=0.99)
        settled_s = time.monotonic()
        wait_until(lambda: time.monotonic() - settled_s > SETTLE_S, SETTLE_S + 5, every_s=0.2)
        memory_bytes = pss_bytes(novel.processes())
        cpu_percent = idle_cpu_percent(novel, idle_s)
        began_s = time.monotonic()
        stopped = novel.ctl("stop")
        if stopped.returncode != 0:
            raise SystemExit(f"{mode}: ctl stop ended with {stopped.returncode}: {stopped.stderr}")
        return {
            "start_s": start_s,
            "stop_s": time.monotonic() - began_s,
            "pss_mb": memory_bytes / 1e6,
            "idle_cpu_percent": cpu_percent,
            "health_p99_ms": health_p99_ms,
        }


def main() -> int:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--idle-s", type=float, default=60.0)
    args = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    for run in range(args.runs):
        for mode in MODES:
            results[mode].append(measure(mode, idle_s=args.idle_s))
            print(f"run {run + 1} {mode}: {results[mode][-1]}", file=sys.stderr)
    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "modes.json").write_text(json.dumps(results, indent=1) + "\n")
    report = render(results, idle_s=args.idle_s)
    (REPORTS / "modes.md").write_text(report)
    print(report)
    return 0


def render(results: dict[str, list[dict[str, float]]], *, idle_s: float) -> str:
    """Return the report as Markdown."""
    names = list(results["single"][0])
    lines = [
        "# The modes side by side",
        "",
        f"{machine()}; {len(results['single'])} runs, idle over {idle_s:g} s. Median (lowest to highest).",
        "",
        "| what | " + " | ".join(results) + " | single / multi |",
        "| --- |" + " --- |" * (len(results) + 1),
    ]
    for name in names:
        medians = {mode: statistics.median(run[name] for run in runs) for mode, runs in results.items()}
        cells = [spread([run[name] for run in runs]) for runs in results.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {medians['single'] / medians['multi']:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
