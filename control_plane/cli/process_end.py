"""Waits for the end of a process that is not our child."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager

POLL_S = 0.05


class ProcessEnd:
    """The end of a process. Linux tells of it; elsewhere we look again and again.

    Made while the process is known to live, it cannot mistake another one of the same id for it.
    """

    def __init__(self, pid: int, pidfd: int | None) -> None:
        self._pid = pid
        self.pidfd = pidfd

    def wait(self, timeout_s: float) -> bool:
        """Return whether the process has ended within the time."""
        if self.pidfd is not None:
            poller = select.poll()
            poller.register(self.pidfd, select.POLLIN)
            return bool(poller.poll(timeout_s * 1_000))
        deadline_s = time.monotonic() + timeout_s
        while self._lives() and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
        return not self._lives()

    def _lives(self) -> bool:
        try:
            os.kill(self._pid, 0)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def end_of(pid: int) -> Iterator[ProcessEnd]:
    """Watch for the end of a process for the length of a block."""
    pidfd = _pidfd(pid)
    try:
        yield ProcessEnd(pid, pidfd)
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _pidfd(pid: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
