"""Puts servers under the load of `wrk`: 16 connections on one thread, each with one request at a time."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

CONNECTIONS = 16
TURNS = 8
TURN_S = 1
# Of a run beyond its own duration: wrk waits for nobody, so this is reached by a stuck machine only.
TIMEOUT_S = 30

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"  # Debian leaves them out of a user's PATH
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_P99 = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s|m)$", re.MULTILINE)
_ERRORS = re.compile(r"^\s*(?:Socket errors|Non-2xx or 3xx responses):.*$", re.MULTILINE)
_UNIT_MS = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}


@dataclass(frozen=True)
class LoadResult:
    """What a server did under load."""

    rps: float
    p99_ms: float


def path_of(tool: str) -> str | None:
    """Return where a tool is installed, None where it is not."""
    return shutil.which(tool) or shutil.which(tool, path=_SYSTEM_FOLDERS)


def missing(tool: str) -> str:
    """Return why a tool cannot be used, nothing where it can."""
    return "" if path_of(tool) else f"not installed: apt-get install {tool}"


def load_in_turn(urls: Mapping[str, str]) -> dict[str, LoadResult]:
    """Warm servers up, then load them in turn, to and fro: a machine that slows down is slow for all.

    Returns:
        For each name, the medians of its turns.

    Raises:
        RuntimeError: not every answer was whole and good.
    """
    order = list(urls)
    for name in order:
        _wrk(urls[name], TURN_S)
    results: dict[str, list[LoadResult]] = {name: [] for name in order}
    for _ in range(TURNS):
        for name in order:
            results[name].append(_wrk(urls[name], TURN_S))
        order.reverse()
    return {name: _median(found) for name, found in results.items()}


def _median(results: list[LoadResult]) -> LoadResult:
    return LoadResult(
        rps=statistics.median(result.rps for result in results),
        p99_ms=statistics.median(result.p99_ms for result in results),
    )


def _wrk(url: str, duration_s: int) -> LoadResult:
    wrk = path_of("wrk")
    if wrk is None:
        raise RuntimeError(f"wrk is {missing('wrk')}")
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{duration_s}s", "--latency"]
    done = subprocess.run(
        [wrk, *options, url], capture_output=True, text=True, timeout=duration_s + TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"wrk on {url}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return parsed(done.stdout, url)


def parsed(output: str, url: str) -> LoadResult:
    """Return what wrk says.

    Raises:
        RuntimeError: it tells of errors, or nothing.
    """
    if errors := _ERRORS.findall(output):
        raise RuntimeError(f"wrk on {url}: {'; '.join(line.strip() for line in errors)}")
    rate, p99 = _RATE.search(output), _P99.search(output)
    if rate is None or p99 is None:
        raise RuntimeError(f"wrk on {url} does not tell its figures: {output}")
    return LoadResult(rps=float(rate[1]), p99_ms=float(p99[1]) * _UNIT_MS[p99[2]])
