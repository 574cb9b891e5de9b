"""Processes that somebody else is the parent of: the kernel tells only parents of an end, so we look.

A `psutil.Process` remembers when it was started: who has its id afterwards is not taken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import psutil

from control_plane.runtime import clock

LOOK_S = 0.02


def find(pid: int) -> psutil.Process | None:
    """Return the process with this id, or None where there is none."""
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended and was not reaped yet does not."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


async def until_ended(processes: Iterable[psutil.Process], *, within_s: float) -> bool:
    """Wait until all of them have ended, at most `within_s`; tell whether they have."""
    watched, ends_s = list(processes), clock.now_s() + within_s
    while any(map(lives, watched)):
        if clock.now_s() >= ends_s:
            return False
        await asyncio.sleep(LOOK_S)
    return True
