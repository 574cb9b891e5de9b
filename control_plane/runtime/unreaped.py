"""Reaps what a host has adopted: processes whose own parent went away, such as those begun with `cmd &`.

The kernel does not tell an adopted child from one that somebody here started and will wait for. So a few
of the ended stay, for whoever wants their exit codes, and the oldest beyond that are reaped.
"""

from __future__ import annotations

import contextlib
import os
import sys

import psutil

ENDED_KEPT = 100
LOOK_EVERY_S = 10.0


class Unreaped:
    """Keeps the number of ended children that nobody waits for within a bound; call `reap` now and then."""

    def __init__(self, *, kept: int = ENDED_KEPT, look_every_s: float = LOOK_EVERY_S) -> None:
        self._kept = kept
        self._look_every_s = look_every_s
        self._looked_s: float | None = None
        # In the order in which they were found.
        self._ended: dict[int, None] = {}

    def reap(self, now_s: float) -> None:
        """Reap the oldest, if it is time to look; what ended since the last look is spared."""
        if sys.platform != "linux":
            return  # Only there is this process given what others leave behind.
        if self._looked_s is not None and now_s - self._looked_s < self._look_every_s:
            return
        self._looked_s = now_s
        ended = _ended_children() if _has_ended_child() else set()
        before = [pid for pid in self._ended if pid in ended]
        for pid in before[: max(0, len(ended) - self._kept)]:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._ended = dict.fromkeys([*before, *(pid for pid in sorted(ended) if pid not in self._ended)])


def _has_ended_child() -> bool:
    """Tell whether a child has ended that was not waited for: one system call, and it stays as it is."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return False


def _ended_children() -> set[int]:
    ended = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.status() == psutil.STATUS_ZOMBIE:
                ended.add(child.pid)
    return ended
