"""Keeps the signal handlers of a process ours while users' code runs in it.

Code that was written for a process of its own installs handlers for SIGTERM and SIGINT, even from inside a
`start()`. Ours go on working. Theirs is called after ours where the process is theirs alone, and where it is
shared it is left out: one component must not decide what a signal means for all.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Self

import uvloop

log = logging.getLogger("coplane.signals")

Call = Callable[[], object]


class SignalGuard:
    """Keeps the handlers that are installed when its block begins.

    `alone`: one component has the process for itself.
    """

    def __init__(self, numbers: tuple[int, ...], *, alone: bool) -> None:
        self.numbers = numbers
        self._alone = alone
        self._theirs: dict[int, Call] = {}
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begin."""
        global _guard
        _guard = self
        signal.signal = self._install  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        global _guard
        _guard = None
        signal.signal = _signal

    def call_theirs(self, number: int) -> None:
        """Do what users' code wanted to do; what it raises to end the process is ours to ignore."""
        call = self._theirs.get(number)
        if call is not None:
            try:
                call()
            except BaseException as exc:  # it runs in our loop, which must go on to drain
                log.info("signal.handler_raised", extra={"signal": number, "error": repr(exc)})

    def take(self, number: int, call: Call | None) -> None:
        """Note a handler in place of the one before, or none."""
        self._theirs.pop(number, None)
        if call is not None and self._alone:
            self._theirs[number] = call
        elif call is not None:
            log.info("signal.handler_left_out", extra={"signal": signal.Signals(number).name})

    def _install(self, number: int, handler: Any) -> Any:
        if number not in self.numbers:
            return _signal(number, handler)
        previous = self._handlers.get(number, signal.SIG_DFL)
        self._handlers[number] = handler
        self.take(number, (lambda: handler(number, None)) if callable(handler) else None)
        return previous


_guard: SignalGuard | None = None
_signal = signal.signal


class GuardedLoop(uvloop.Loop):
    """An event loop whose signal handlers the guard keeps as well, and whose threads know whose they are."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> Any:
        """Run a function in a pool; in one of threads with the caller's context, as asyncio.to_thread."""
        if executor is None or isinstance(executor, ThreadPoolExecutor):
            return super().run_in_executor(executor, copy_context().run, func, *args)
        return super().run_in_executor(executor, func, *args)

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Add a handler, or note it."""
        if _guard is not None and sig in _guard.numbers:
            _guard.take(sig, lambda: callback(*args))
        else:
            super().add_signal_handler(sig, callback, *args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove a handler, or forget it; tell whether there was one."""
        if _guard is not None and sig in _guard.numbers:
            _guard.take(sig, None)
            return True
        return super().remove_signal_handler(sig)
