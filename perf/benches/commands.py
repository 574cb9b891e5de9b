"""How long `ctl status` and `ctl --help` take, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from perf.record import Record
from perf.stages import coplane

TIMES = 7
CTL = str(Path(sys.executable).parent / "ctl")


def measure(record: Record) -> None:
    """Run each some times, in turn."""
    with coplane("multi") as stage:
        env = stage.place.env
        for _ in range(TIMES):
            record.add("command_ms", "ctl status", _run_ms([CTL, "status"], env))
            record.add("command_ms", "ctl --help", _run_ms([CTL, "--help"], env))
            record.add("command_ms", "python -c pass", _run_ms([sys.executable, "-c", "pass"], env))


def _run_ms(command: list[str], env: dict[str, str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=env, timeout=30)
    return (time.perf_counter() - began_s) * 1000
