"""Makes `os._exit` the crash of the component that calls it, where others share its process.

It ends a process without asking anybody: a watchdog of code that had a process for itself means itself by
it, and not its neighbours.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn, Self

from control_plane.runtime.host_logging import current_replica

# For whoever means the whole process.
exit_process = os._exit


class ExitRefused(RuntimeError):
    """`os._exit` was called by a component whose process is not its own."""


class ExitGuard:
    """Takes the place of `os._exit` in its block; in forked children it is what it was.

    Args:
        crash: is told which replica wanted to end, and with which code; from any thread.
    """

    def __init__(self, crash: Callable[[str, int], None]) -> None:
        self._crash = crash
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        """Begin."""
        os._exit = self._called
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        os._exit = exit_process

    def _called(self, status: int) -> NoReturn:
        replica = current_replica.get()
        if not replica or os.getpid() != self._pid:
            exit_process(status)
        self._crash(replica, status)
        raise ExitRefused(f"os._exit({status}) in a process that others share")
