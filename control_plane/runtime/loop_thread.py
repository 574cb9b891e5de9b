"""The thread of a running event loop, looked at from another thread.

The loop itself is not touched: uvloop has no hooks, and its frames are not Python's. What tells an idle
loop from a busy one is whether the thread has a Python frame above those of the loop's own machinery.
"""

from __future__ import annotations

import asyncio
import inspect
import selectors
import sys
import threading
import time
from asyncio import base_events, events, runners, selector_events, unix_events
from collections.abc import Callable
from functools import partial
from types import FrameType

_MACHINERY = frozenset(
    module.__file__ for module in (base_events, events, runners, selector_events, selectors, unix_events)
)


class LoopThread:
    """The present thread and its running loop; made in a coroutine, then used by another thread."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.cpu_s = _cpu_clock()
        self._ident = threading.get_ident()
        self._caller = _caller_of_the_loop()

    def callback(self) -> list[FrameType]:
        """Return the frames of the callback or task step that runs now, innermost first; none when idle.

        Keep none of them for longer than a moment: whoever lets go of the last reference to a frame
        also destroys its locals, in its own thread.
        """
        frames: list[FrameType] = []
        frame = sys._current_frames().get(self._ident)
        while frame is not None and frame is not self._caller:
            frames.append(frame)
            frame = frame.f_back
        if frame is not self._caller:
            return []  # it does not run the loop at present
        while frames and frames[-1].f_code.co_filename in _MACHINERY:
            frames.pop()
        return frames


def _cpu_clock() -> Callable[[], float]:
    """Return the clock of the processor time that the present thread has used, for any thread to read."""
    if sys.platform == "linux":
        return partial(time.clock_gettime, time.pthread_getcpuclockid(threading.get_ident()))
    return time.process_time  # the whole process's, where a thread's cannot be read from outside


def _caller_of_the_loop() -> FrameType | None:
    """Return the frame that runs the loop: the one outside the running task, and outside asyncio."""
    outside: FrameType | None = None
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_flags & inspect.CO_COROUTINE:
            outside = frame.f_back
        frame = frame.f_back
    while outside is not None and outside.f_code.co_filename in _MACHINERY:
        outside = outside.f_back
    return outside
