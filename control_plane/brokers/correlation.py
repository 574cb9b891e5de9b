"""Which message is being handled: what a handler publishes inherits its correlation id and trace.

OpenTelemetry is asked only where the program has loaded it.
"""

from __future__ import annotations

import os
import random
import sys
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Correlation:
    """What ties messages together."""

    correlation_id: str = ""
    traceparent: str = ""


_current: ContextVar[Correlation] = ContextVar("coplane_correlation", default=Correlation())  # noqa: B039 (frozen)


# Of our own, since users seed the common one; the system's costs a call into the kernel for each id.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """Return an id that nobody else will ever make: 128 random bits."""
    return f"{_random.getrandbits(128):032x}"


def current_correlation(correlation_id: str | None = None) -> Correlation:
    """Return what a message published here belongs to; a new id where there is none yet."""
    inherited = _current.get()
    correlation_id = correlation_id or inherited.correlation_id or new_id()
    return Correlation(correlation_id, _active_span() or inherited.traceparent)


class handling:  # noqa: N801  # a context manager, used like a function
    """Ties what is published in its block to a message."""

    __slots__ = ("_correlation", "_token")

    def __init__(self, correlation_id: str, traceparent: str) -> None:
        self._correlation = Correlation(correlation_id, traceparent)

    def __enter__(self) -> None:
        """Begin."""
        self._token = _current.set(self._correlation)

    def __exit__(self, *_: object) -> None:
        """End."""
        _current.reset(self._token)


def _active_span() -> str:
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    # W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
