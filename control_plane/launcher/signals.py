"""Signals of a launch: the first asks for a stop, a second one forces it, a third ends the process.

None is lost while one event loop ends and the next begins: those that come meanwhile are kept waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from contracts.errors import ExitCode
from control_plane.runtime.exit_guard import exit_process
from control_plane.runtime.signal_guard import SignalGuard

SIGNALS_TO_EXIT = 3


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that ask for a stop; under `nohup` the end of the terminal does not."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hangs_up else ()))


def hold_signals() -> None:
    """Only note signals from here on, until an event loop heeds them; the third ends this process.

    A handler and no mask: a mask would hold for this thread alone, and the kernel may choose another.
    """
    for number in stop_signals():
        signal.signal(number, _note)


def held_signals() -> bool:
    """Tell whether signals came while they were held; they are forgotten by that."""
    came = bool(_held)
    _held.clear()
    return came


def _note(number: int, _frame: FrameType | None) -> None:
    _held.append(number)
    if len(_held) >= SIGNALS_TO_EXIT:
        exit_process(ExitCode.INTERRUPTED)


_held: list[int] = []


class Ending:
    """What signals ask for: a stop, after that a forced one, and the third time the end of this process.

    The third needs no event loop: a component that blocks the loop, or swallows its cancellation, must not
    be able to hold the launch. What it leaves behind is cleaned up by the next launch.
    """

    def __init__(self) -> None:
        self._signals = 0
        self.asked = asyncio.Event()
        self.forced = asyncio.Event()
        self.reason = ""

    @property
    def signalled(self) -> bool:
        """Tell whether a signal came, although the event loop may not have heeded it any more."""
        return self._signals > 0

    def ask(self, reason: str) -> None:
        """Ask for a stop; the second time, force it."""
        if self.asked.is_set():
            self.forced.set()
        self.reason = self.reason or reason
        self.asked.set()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let SIGINT, SIGTERM and SIGHUP ask; afterwards they are held, whatever follows."""
        loop, numbers = asyncio.get_running_loop(), stop_signals()

        def arrived(number: int, _frame: FrameType | None) -> None:
            self._signals += 1
            if self._signals >= SIGNALS_TO_EXIT:
                exit_process(ExitCode.INTERRUPTED)
            loop.call_soon_threadsafe(self.ask, signal.Signals(number).name)

        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, arrived)
        try:
            with SignalGuard(numbers, alone=False):
                yield
        finally:
            hold_signals()  # until it is known what follows: the end, or a new beginning
