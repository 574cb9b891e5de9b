"""Measures Coplane beside what else starts, connects and serves the same components.

    python -m perf.bench [--rounds 3] [--only launching,bus] [--out perf/reports]

Each round measures every system in turn, so that what the machine does meanwhile hits all alike; a
goal is a ratio of two of them. Peers are fetched from their registries into a temporary folder; what
cannot be had is left out by name. Writes `bench.md`, `bench.json` and the plots.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perf.bench_report import write_report
from perf.figures import REPORTS
from perf.peers.supervisors import BY_HAND, FLOOR, PEERS, Peer, install
from perf.record import Record

IDLE_S = 60.0
ROUNDS = 3
BENCHES = ("launching", "commands", "scaling", "gateway", "health", "bus", "idle", "control")


def run(names: Sequence[str], *, rounds: int, peers: Sequence[Peer], idle_s: float = IDLE_S) -> Record:
    """Run some benchmarks, each for a number of rounds."""
    record = Record()
    with tempfile.TemporaryDirectory() as folder:
        tools = Path(folder)
        present = _installed(peers, tools, record) if "launching" in names else []
        options: dict[str, dict[str, Any]] = {
            "launching": {"peers": present, "tools": tools},
            "idle": {"idle_s": idle_s},
        }
        for number in range(rounds):
            for name in names:
                began_s = time.monotonic()
                bench = importlib.import_module(f"perf.benches.{name}")
                bench.measure(record, **options.get(name, {}))
                took_s = time.monotonic() - began_s
                print(f"round {number + 1} of {rounds}: {name}, {took_s:.0f} s", file=sys.stderr)
    return record


def _installed(peers: Sequence[Peer], tools: Path, record: Record) -> list[Peer]:
    for peer in peers:
        try:
            record.versions[peer.name] = install(peer, tools)
        except (OSError, subprocess.SubprocessError) as exc:
            record.leave_out(peer.name, str(exc))
    return [peer for peer in peers if peer.name in record.versions]


def as_users_run() -> None:
    """Let every process that is started write and use compiled modules, as an installation does."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def main() -> int:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", type=lambda names: names.split(","), default=BENCHES)
    parser.add_argument("--out", type=Path, default=REPORTS)
    args = parser.parse_args()
    as_users_run()
    began_s = time.monotonic()
    record = run(args.only, rounds=args.rounds, peers=(FLOOR, BY_HAND, *PEERS))
    args.out.mkdir(exist_ok=True)
    measured = {"duration_s": round(time.monotonic() - began_s), **record.as_json()}
    (args.out / "bench.json").write_text(json.dumps(measured, indent=1) + "\n")
    print(write_report(record, args.out, duration_s=measured["duration_s"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
