"""What this process uses: resident memory and processor time since the last reading."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import psutil

_STATM = "/proc/self/statm"


@dataclass(frozen=True)
class Reading:
    """Resident memory in bytes; processor time as a percentage of one core since the last reading."""

    rss_bytes: int
    cpu_percent: float


class Usage:
    """Reads the usage of the present process."""

    def __init__(self) -> None:
        self._last_cpu_s = time.process_time()
        self._last_s = time.monotonic()

    def read(self) -> Reading:
        """Return the usage now."""
        cpu_s, at_s = time.process_time(), time.monotonic()
        elapsed_s = at_s - self._last_s
        percent = 100 * (cpu_s - self._last_cpu_s) / elapsed_s if elapsed_s > 0 else 0.0
        self._last_cpu_s, self._last_s = cpu_s, at_s
        return Reading(_resident_bytes(), round(percent, 2))


def _resident_bytes() -> int:
    try:
        with open(_STATM) as file:  # psutil reads it too, but keeps much more of this process in motion
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return int(psutil.Process().memory_info().rss)
