"""Signals of a launch: the first asks for a stop, a second one forces it, a third ends the process.

A handler only notes them; whoever listens takes them from there when the event loop gets to it. So none is
lost while one listener follows another, or one event loop ends and the next begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from contracts.errors import ExitCode
from control_plane.runtime.exit_guard import exit_process
from control_plane.runtime.signal_guard import SignalGuard

SIGNALS_TO_EXIT = 3

Listener = Callable[[str], object]


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask for a stop; under `nohup` the end of the terminal does not."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hangs_up else ()))


def hold_signals() -> None:
    """Only note signals from here on, until somebody listens; the third ends this process.

    A handler and no mask: a mask would hold for this thread alone, and the kernel may choose another.
    """
    _inbox.close()
    for number in stop_signals():
        signal.signal(number, _inbox.note)


@contextlib.contextmanager
def heeding(listener: Listener) -> Iterator[None]:
    """Hand signals to `listener` by name, first those that are held; afterwards they are held again.

    The third that comes meanwhile ends this process without it: a component that blocks the event loop, or
    swallows its cancellation, must not be able to hold the launch. What it leaves behind is cleaned up by
    the next launch.
    """
    hold_signals()
    _inbox.open(listener, asyncio.get_running_loop())
    try:
        yield
    finally:
        hold_signals()  # until it is known what follows: the end, or a new beginning


class _Inbox:
    """Signals by name, in the order in which they came: what was handed on to the listener, then the rest."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._handed_on = 0
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal; a handler for the main thread."""
        self._names.append(signal.Signals(number).name)
        if len(self._names) >= SIGNALS_TO_EXIT:
            exit_process(ExitCode.INTERRUPTED)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.hand_on)

    def open(self, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        """Hand on what waits, and what comes."""
        self._listener, self._loop = listener, loop
        loop.call_soon(self.hand_on)

    def close(self) -> None:
        """Hand on nothing, and forget what was."""
        self._listener = self._loop = None
        del self._names[: self._handed_on]
        self._handed_on = 0

    def hand_on(self) -> None:
        """Hand on now what waits."""
        while self._listener is not None and self._handed_on < len(self._names):
            self._handed_on += 1
            self._listener(self._names[self._handed_on - 1])


_inbox = _Inbox()


class Ending:
    """What is asked of a launch: a stop, and after that a forced one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()
        self.reason = ""

    def ask(self, reason: str) -> None:
        """Ask for a stop; the second time, force it."""
        if self.asked.is_set():
            self.forced.set()
        self.reason = self.reason or reason
        self.asked.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGINT, SIGTERM and SIGHUP ask."""
        with heeding(self.ask), SignalGuard(stop_signals(), alone=False):
            try:
                yield
            finally:
                _inbox.hand_on()  # what came before this is over is not for whatever follows
