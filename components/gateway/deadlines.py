"""Deadlines that all have the same length: the first to start is the first to pass, so one timer serves all.

A timer of its own for every request would cost several times what the rest of this does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# uvloop's clock and timers count milliseconds: what is due within this one would ring again and again.
CLOCK_TICK_S = 0.001


class Deadlines:
    """The deadlines that run; while none does, there is no timer either, but for the last one's."""

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self._loop = asyncio.get_running_loop()
        self._due_s: dict[Deadline, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, deadline: Deadline) -> None:
        """Have a deadline run from now on, also where it runs already."""
        self.stop(deadline)
        due_s = self._due_s[deadline] = self._loop.time() + self.length_s
        if self._timer is None:
            self._timer = self._loop.call_at(due_s, self._ring)

    def stop(self, deadline: Deadline) -> None:
        """Have a deadline run no longer."""
        self._due_s.pop(deadline, None)

    def _ring(self) -> None:
        self._timer = None
        now_s = self._loop.time() + CLOCK_TICK_S
        while self._due_s:
            deadline, due_s = next(iter(self._due_s.items()))
            if due_s > now_s:
                self._timer = self._loop.call_at(due_s, self._ring)
                return
            del self._due_s[deadline]
            deadline.pass_by()


class Deadline:
    """Runs from its construction; calls `expire` when it has passed, unless it is stopped before."""

    __slots__ = ("_deadlines", "_expire", "passed")

    def __init__(self, deadlines: Deadlines, expire: Callable[[], object]) -> None:
        self._deadlines = deadlines
        self._expire = expire
        self.passed = False
        deadlines.start(self)

    def stop(self) -> None:
        """Stop the clock."""
        self._deadlines.stop(self)

    def restart(self) -> None:
        """Count from the beginning, if it was stopped in time."""
        if not self.passed:
            self._deadlines.start(self)

    def pass_by(self) -> None:
        """Expire."""
        self.passed = True
        self._expire()
