"""Compares ratios with those of the last accepted run, and names what got worse by more than the noise.

    python -m perf.bench_check [--rounds 3] [--short] [--tolerance 0.25]
    python -m perf.bench_check --record

Only goals that compare two systems are looked at: the machine's own speed falls out of them. A ratio is
worse when it lies beyond its baseline by more than the noise of that one, its own, and the tolerance.
`--short` leaves out what takes long. `--record` makes the last `perf.bench` run the baseline.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from perf.bench import BENCHES, IDLE_S, as_users_run, run
from perf.figures import REPORTS
from perf.goals import Outcome, outcomes
from perf.peers.supervisors import FLOOR
from perf.record import Record

BASELINES = Path(__file__).parent / "baselines.json"
SHORT = ("launching", "commands", "bus")
TOLERANCE = 0.25

Baselines = Mapping[str, Mapping[str, float]]


def baselines_of(record: Record) -> dict[str, dict[str, float]]:
    """Return the ratio and the noise of each goal that compares two systems."""
    return {
        each.goal.name: {"ratio": round(each.value, 4), "noise": round(each.noise, 4)}
        for each in outcomes(record)
        if each.goal.is_ratio
    }


def regressions(record: Record, baselines: Baselines, *, tolerance: float) -> Iterator[str]:
    """Yield a line for each ratio that got worse by more than the noise and the tolerance."""
    for outcome in outcomes(record):
        before = baselines.get(outcome.goal.name)
        if before is None:
            continue
        worse = outcome.goal.worse_by(outcome.value, before["ratio"])
        allowed = tolerance + before["noise"] + outcome.noise
        if worse > allowed:
            yield (
                f"{outcome.goal.name}: {outcome.value:.2f}, was {before['ratio']:.2f}: "
                f"{worse:.0%} worse, where {allowed:.0%} may be noise"
            )


def main() -> int:
    """Measure and compare, or record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    if args.record:
        return _record()
    as_users_run()
    names = SHORT if args.short else BENCHES
    record = run(names, rounds=args.rounds, peers=(FLOOR,), idle_s=IDLE_S)
    worse = list(regressions(record, json.loads(BASELINES.read_text()), tolerance=args.tolerance))
    for outcome in outcomes(record):
        if outcome.goal.is_ratio:
            print(_line(outcome))
    print("\n".join(worse) or "nothing got worse by more than the noise")
    return 1 if worse else 0


def _record() -> int:
    measured: dict[str, Any] = json.loads((REPORTS / "bench.json").read_text())
    record = Record()
    record.samples.update(measured["samples"])
    BASELINES.write_text(json.dumps(baselines_of(record), indent=1) + "\n")
    print(f"{BASELINES}: {len(baselines_of(record))} ratios")
    return 0


def _line(outcome: Outcome) -> str:
    return f"{outcome.goal.name}: {outcome.value:.2f} ({outcome.lowest:.2f} to {outcome.highest:.2f})"


if __name__ == "__main__":
    sys.exit(main())
