"""Kills components and control planes, and measures how soon all is well again, beside the peers.

    python -m perf.recovery [--runs 3] [--out perf/reports]

Each run puts every system on the stage in turn, so that what the machine does meanwhile hits all
alike. Peers are installed from their registries into a temporary folder; one that cannot be had is
left out by name. Writes `recovery.md` and `recovery.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import redis

from perf.figures import REPORTS
from perf.peers.supervisors import PEERS, Peer, install
from perf.recovery_report import render
from perf.stages import Coplane, Stage, coplane, listeners, peer_stage
from perf.trail import trail
from perf.wire import ReapWatch, answers, load_on
from tests.support.wait import wait_until

KILLED = ("critic", "writer", "rewriter", "outliner", "fact_checker")
HUNG = ("worldsmith", "plotmaster")
POLL_S = 0.001
RECOVERY_LIMIT_S = 15.0
HUNG_LIMIT_S = 30.0
CONTROL_DOWN_S = 1.0
TAKEOVER_LIMIT_S = 8.0
TAKEOVER_POLL_S = 0.02
SETTLE_S = 0.5
BUDGET_S = 300.0  # after this, no further run begins
TAKEOVERS = 2  # of our own, in each run; peers take over nothing, and are asked once

Row = dict[str, Any]


# One component killed.


def kill(stage: Stage, service: str, *, comes_back: bool = True) -> Row:
    """Kill the service's process; return the milliseconds until it is reaped, and until it answers."""
    pid, target = stage.pids()[service], stage.target(service)
    answered = False
    with ReapWatch(pid, limit_s=RECOVERY_LIMIT_S) as watch:
        killed_at_s, killed_s = time.time(), time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while comes_back and not answered and time.perf_counter() - killed_s < RECOVERY_LIMIT_S:
            time.sleep(POLL_S)
            answered = answers(target)
        answered_s = time.perf_counter()
    return {
        "service": service,
        "killed_at_s": killed_at_s,
        "reaped_ms": (watch.reaped_s - killed_s) * 1000 if watch.reaped_s else None,
        "answered_ms": (answered_s - killed_s) * 1000 if answered else None,
    }


def kill_ours(stage: Coplane, service: str) -> Row:
    """Kill a component's host; add where the time went."""
    row = kill(stage, service)
    wait_until(lambda: service in stage.pids(), RECOVERY_LIMIT_S)
    with redis.Redis(unix_socket_path=stage.bus_socket, decode_responses=True) as bus:
        since = int(row["killed_at_s"] * 1000)
        row["steps_ms"] = trail(
            service,
            killed_s=row["killed_at_s"],
            anchor_lines=(stage.place.home / "logs" / "anchor.log").read_text().splitlines(),
            events=bus.xrange("novel:ctl:events", min=since),
            commands=bus.xrange(f"novel:ctl:commands:{service}", min=since),
        )
    return row


def kill_for_good(stage: Stage) -> Row:
    """Kill a service of a peer that restarts nothing; return how soon all the others have ended."""
    ports = {stage.target(service)[0][1] for service in stage.pids()}
    row = kill(stage, KILLED[0], comes_back=False)
    wait_until(lambda: not ports & set(listeners()), RECOVERY_LIMIT_S)
    return {**row, "all_ended_ms": (time.time() - row["killed_at_s"]) * 1000}


# Loops that hang.


def hang(stage: Coplane) -> list[Row]:
    """Stop some hosts with SIGSTOP; return when each was noticed, and when a new one was ready."""
    before, began_s = stage.pids(), time.perf_counter()
    for service in HUNG:
        os.kill(before[service], signal.SIGSTOP)
    noticed: dict[str, float] = {}
    replaced: dict[str, float] = {}

    def all_replaced() -> bool:
        replicas, passed_s = stage.replicas(), time.perf_counter() - began_s
        for service in HUNG:
            state, pid = replicas[service]["state"], replicas[service]["pid"]
            if state != "ready" or pid != before[service]:
                noticed.setdefault(service, passed_s)
            if state == "ready" and pid != before[service]:
                replaced.setdefault(service, passed_s)
        return len(replaced) == len(HUNG)

    wait_until(all_replaced, HUNG_LIMIT_S)
    return [
        {"service": service, "noticed_s": noticed[service], "replaced_s": replaced[service]}
        for service in HUNG
    ]


# The control plane killed.


def lose_control(stage: Stage) -> Row:
    """Kill what supervises under load, start it again; return what failed, and when it had all again."""
    before = stage.pids()
    with load_on([stage.target(service) for service in before]) as load:
        time.sleep(SETTLE_S)
        stage.kill_control()
        time.sleep(CONTROL_DOWN_S)
        started_s = time.perf_counter()
        stage.start()
        while len(now := stage.pids()) < len(before) and time.perf_counter() - started_s < TAKEOVER_LIMIT_S:
            time.sleep(TAKEOVER_POLL_S)
        took_s = time.perf_counter() - started_s
        time.sleep(SETTLE_S)
    return {
        "sent": load.sent,
        "failed": len(load.failures),
        "failures": load.failures[:5],
        "services": len(before),
        "supervised": len(now),
        "kept": sum(now.get(service) == pid for service, pid in before.items()),
        "still_there": sum(psutil.pid_exists(pid) for pid in before.values()),
        "took_s": took_s if len(now) == len(before) else None,
    }


# The whole.


def measure_ours() -> Row:
    """Put our own system on the stage once."""
    with coplane() as stage:
        kills = [kill_ours(stage, service) for service in KILLED]
        takeovers = [lose_control(stage) for _ in range(TAKEOVERS)]
        hung = hang(stage)
        stopped = stage.place.interrupt()
        if stopped != 0:
            raise SystemExit(f"the launch ended with {stopped}:\n{stage.place.output}")
        stage.place.assert_nothing_left()
        return {"kills": kills, "takeovers": takeovers, "hung": hung}


def measure_peer(peer: Peer, tools: Path, *, lose: bool) -> Row:
    """Put a peer on the stage once; `lose` its control plane, too, at the end."""
    with peer_stage(peer, tools) as stage:
        if not peer.restarts:
            return {"kills": [kill_for_good(stage)], "takeovers": []}
        kills = []
        for service in KILLED:
            kills.append(kill(stage, service))
            time.sleep(SETTLE_S)
        return {"kills": kills, "takeovers": [lose_control(stage)] if lose else []}


def measure(runs: int) -> Row:
    """Measure everything; return what `recovery.json` holds."""
    with tempfile.TemporaryDirectory() as folder:
        tools, versions, left_out = Path(folder), {}, {}
        for peer in PEERS:
            try:
                versions[peer.name] = install(peer, tools)
            except (OSError, subprocess.SubprocessError) as exc:
                left_out[peer.name] = str(exc)
        peers = [peer for peer in PEERS if peer.name in versions]
        results: dict[str, list[Row]] = {"coplane": [], **{peer.name: [] for peer in peers}}
        began_s = time.monotonic()
        for run in range(runs):
            if time.monotonic() - began_s > BUDGET_S:
                break
            results["coplane"].append(measure_ours())
            for peer in peers:
                results[peer.name].append(measure_peer(peer, tools, lose=run == 0))
            print(f"run {run + 1} of {runs} done", file=sys.stderr)
        return {"versions": versions, "left_out": left_out, "results": results}


def main() -> int:
    """Measure, print and write the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=REPORTS)
    args = parser.parse_args()
    began_s = time.monotonic()
    measured = measure(args.runs)
    measured["duration_s"] = round(time.monotonic() - began_s)
    args.out.mkdir(exist_ok=True)
    (args.out / "recovery.json").write_text(json.dumps(measured, indent=1) + "\n")
    report = render(measured)
    (args.out / "recovery.md").write_text(report)
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
