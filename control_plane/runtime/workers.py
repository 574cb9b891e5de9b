"""Worker processes for CPU-bound work: started on first use, ended when idle.

Spawned, not forked: a host has an event loop and threads, which a fork would copy half-alive.
"""

from __future__ import annotations

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

T = TypeVar("T")

IDLE_TIMEOUT_S = 30.0
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Prepare a worker: it ignores Ctrl+C (its host decides) and dies when its host is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class WorkerPool:
    """A pool of worker processes, at most `max_workers`, gone after `IDLE_TIMEOUT_S` without work."""

    def __init__(self, *, max_workers: int | None = None) -> None:
        self._max_workers = max_workers or min(4, os.cpu_count() or 1)
        self._pool: ProcessPoolExecutor | None = None
        self._busy = 0
        self._reaper: asyncio.TimerHandle | None = None

    async def run(self, func: Callable[..., T], *args: object) -> T:
        """Run a picklable function in a worker process.

        Raises:
            BrokenProcessPool: a worker died while it ran; the pool starts afresh on the next call.
        """
        loop = asyncio.get_running_loop()
        self._busy += 1
        if self._reaper is not None:
            self._reaper.cancel()
        pool = self._executor()
        try:
            return await loop.run_in_executor(pool, func, *args)
        except BrokenProcessPool:
            if self._pool is pool:  # another caller may have begun a new one
                self.close()
            raise
        finally:
            self._busy -= 1
            if self._busy == 0:
                self._reaper = loop.call_later(IDLE_TIMEOUT_S, self.close)

    def _executor(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._max_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=die_with_parent,
            )
        return self._pool

    def close(self) -> None:
        """End the workers; work that has not begun is cancelled."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
