"""Runs chaos and writes `perf/reports/chaos.md` and `.json`.

python -m tests.chaos [--seed 1] [--minutes 30 | --faults 200] [--only KIND...] [--no-report]
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from tests.chaos.driver import run_chaos
from tests.chaos.report import write_report
from tests.chaos.schedule import Kind, make_schedule
from tests.chaos.stage import COMPONENTS, PLACES


def main() -> int:
    """Run, print the report, fail if an invariant does not hold."""
    args = _arguments()
    # Whoever ends us gets everything cleaned up, as with Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    schedule = make_schedule(
        args.seed,
        components=COMPONENTS,
        places=PLACES,
        duration_s=None if args.faults else args.minutes * 60,
        count=args.faults,
        kinds=[Kind(kind) for kind in args.only] if args.only else tuple(Kind),
    )
    outcome = asyncio.run(run_chaos(args.seed, schedule))
    print(write_report(outcome, keep=not args.no_report))
    if not outcome.held:
        print(outcome.explain(), file=sys.stderr)
    return 0 if outcome.held else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--faults", type=int, help="end after so many faults instead")
    parser.add_argument("--only", nargs="+", choices=[str(kind) for kind in Kind], help="no other faults")
    parser.add_argument("--no-report", action="store_true", help="print it only")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
