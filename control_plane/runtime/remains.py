"""What a dead anchor leaves behind: hosts that stop by themselves, and whatever they have started.

Nobody is their parent any more who could end them. So they are looked up in the moment in which the
anchor was found dead, are given a short time, and then are killed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil

from control_plane.runtime import processes
from control_plane.runtime.children import kill_group

KILLED_TIMEOUT_S = 2.0


class Remains:
    """The hosts of a dead anchor, and their descendants; who has a process id after them is not one."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._hosts = [process for pid in pids if (process := processes.find(pid)) is not None]
        self._descendants: set[psutil.Process] = set()
        self._look()

    async def end(self, *, grace_s: float) -> None:
        """Wait until the hosts have stopped, at most `grace_s`; then kill what is left, cancelled or not."""
        try:
            await processes.until_ended(self._hosts, within_s=grace_s)
        finally:
            self._kill()

    def _look(self) -> None:
        for host in self._hosts:
            with contextlib.suppress(psutil.Error):
                self._descendants.update(host.children(recursive=True))

    def _kill(self) -> None:
        self._look()
        for host in filter(processes.lives, self._hosts):
            kill_group(host.pid)
        everything = [*self._hosts, *self._descendants]
        for process in everything:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(everything, timeout=KILLED_TIMEOUT_S)
