"""One launch of one way to run a backend, looked at from outside."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from contracts.errors import ExitCode

LEGACY = "legacy"
SETTLE_S = 1.0
LOOK_S = 0.02
REQUEST_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 120.0
# On top of a launch's own deadline, and of the time that it takes to stop again.
LAUNCH_MARGIN_S = 180.0
BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class Way:
    """A way to run the backend: a mode of ours, or the legacy commands."""

    name: str

    @property
    def options(self) -> tuple[str, ...]:
        """Return what `ctl launch` is told."""
        return () if self.name == LEGACY else ("--mode", self.name)

    @property
    def environment(self) -> dict[str, str]:
        """Return what its environment says."""
        return {"CTL_LAUNCHER": LEGACY if self.name == LEGACY else "coplane"}


@dataclass(frozen=True)
class Trial:
    """What one launch came to; None where it was not measured.

    Attributes:
        start_s: from the command to ready, in seconds.
        memory_mb: sum of the PSS of all its processes, in megabytes (of their RSS where there is no PSS).
        cpu_percent: of one core, while nobody asked for anything.
        latencies_ms: of requests, one after the other on one connection, in milliseconds.
        failed: requests that were not answered with a status below 500.
        error: why it was no launch at all.
    """

    way: str
    start_s: float | None = None
    memory_mb: float | None = None
    cpu_percent: float | None = None
    latencies_ms: tuple[float, ...] = ()
    failed: int = 0
    error: str = ""


def try_once(
    way: str, config: Path, *, idle_s: float, requests: int, path: str, url: str, timeout_s: float
) -> Trial:
    """Launch, measure and stop, in a runtime folder of its own.

    Args:
        idle_s: how long to look at the processor's time, in seconds.
        path: what is asked for.
        url: where the legacy commands answer; empty where that is not to be measured.
        timeout_s: how long a launch may take.
    """
    with tempfile.TemporaryDirectory(prefix="ctl-compare-", dir="/tmp") as home:
        launch = _Launch(Way(way), config, Path(home))
        try:
            trial = _tried(launch, idle_s=idle_s, requests=requests, path=path, url=url, timeout_s=timeout_s)
        except (subprocess.TimeoutExpired, ValueError, KeyError, psutil.Error) as exc:
            trial = Trial(way, error=f"it could not be measured: {exc}")
        finally:
            stopped = launch.stop()
        return trial if stopped or trial.error else Trial(way, error="it could not be stopped")


def _tried(launch: _Launch, *, idle_s: float, requests: int, path: str, url: str, timeout_s: float) -> Trial:
    way = launch.way.name
    began_s = time.monotonic()
    error = launch.start(timeout_s)
    if not error and url and way == LEGACY:
        error = _until_answered(url, path, timeout_s)  # programs that say nothing of themselves
    if error:
        return Trial(way, error=error)
    start_s = time.monotonic() - began_s
    return _looked_at(launch, start_s, idle_s=idle_s, requests=requests, path=path, url=url)


class _Launch:
    def __init__(self, way: Way, config: Path, home: Path) -> None:
        self.way = way
        self._config = config
        self._environment = {
            **os.environ,
            **way.environment,
            "CTL_HOME": str(home),
            "CTL_GATEWAY__PORT": "0",
            "CTL_CONTROL__PORT": "0",
        }

    def start(self, timeout_s: float) -> str:
        """Return why it did not get ready, or an empty text."""
        told = ("--detach", "--timeout", f"{timeout_s:g}", *self.way.options)
        done = self._ctl("launch", *told, timeout_s=timeout_s + LAUNCH_MARGIN_S)
        said = (done.stderr or done.stdout).strip().splitlines()
        return "" if done.returncode == 0 else (said or [f"exit code {done.returncode}"])[-1]

    def status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = json.loads(self._ctl("status", "--json", timeout_s=30).stdout)
        return status

    def stop(self) -> bool:
        """Stop what there is; tell whether nothing is left."""
        try:
            code = self._ctl("stop", timeout_s=STOP_TIMEOUT_S).returncode
            return code in (ExitCode.DONE, ExitCode.NO_CONTROL_PLANE)
        except subprocess.TimeoutExpired:
            return False

    def _ctl(self, verb: str, *arguments: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "control_plane.cli", verb, "--config", str(self._config), *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def _looked_at(
    launch: _Launch, start_s: float, *, idle_s: float, requests: int, path: str, url: str
) -> Trial:
    status = launch.status()
    time.sleep(SETTLE_S)  # what a start leaves behind is no part of idling
    processes = _tree(int(status["control_plane"]["pid"]))
    before_s = _cpu_s(processes)
    time.sleep(idle_s)
    cpu_percent = (_cpu_s(processes) - before_s) / idle_s * 100
    memory_mb = sum(map(_memory_mb, processes))
    if not launch.status()["ready"]:
        return Trial(launch.way.name, error="it was not ready any more when it was looked at")
    at = str(status["gateway"]["url"]) or url
    latencies, failed = _ask(at, path, requests) if at else ((), 0)
    return Trial(launch.way.name, start_s, memory_mb, cpu_percent, latencies, failed)


def _until_answered(url: str, path: str, timeout_s: float) -> str:
    ends_s = time.monotonic() + timeout_s
    while _ask(url, path, 1)[1]:
        if time.monotonic() > ends_s:
            return f"{url}{path} did not answer within {timeout_s:g} s"
        time.sleep(LOOK_S)
    return ""


def _tree(pid: int) -> list[psutil.Process]:
    launch = psutil.Process(pid)
    return [launch, *launch.children(recursive=True)]


def _cpu_s(processes: list[psutil.Process]) -> float:
    """Return the processor's time of all of them; whoever has died since is an error, and no saving."""
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


def _memory_mb(process: psutil.Process) -> float:
    found = process.memory_full_info()
    # RSS counts what processes share once for each of them; PSS, which only Linux has, once for all.
    return float(getattr(found, "pss", found.rss)) / BYTES_PER_MB


def _ask(url: str, path: str, requests: int) -> tuple[tuple[float, ...], int]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=REQUEST_TIMEOUT_S)
    latencies, failed = [], 0
    for _ in range(requests):
        began_s = time.perf_counter()
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            failed += answer.status >= http.client.INTERNAL_SERVER_ERROR
        except (OSError, http.client.HTTPException):
            connection.close()
            failed += 1
        latencies.append((time.perf_counter() - began_s) * 1000)
    connection.close()
    return tuple(latencies), failed
