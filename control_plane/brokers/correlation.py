"""Which message is being handled: what a handler publishes inherits its correlation id and trace.

OpenTelemetry is asked only where the program has loaded it.
"""

from __future__ import annotations

import os
import random
import sys
from contextvars import ContextVar

# The correlation id and the `traceparent` of the message that is being handled; empty where there is none.
handled: ContextVar[tuple[str, str]] = ContextVar("coplane_correlation", default=("", ""))


# Of our own, since users seed the common one; the system's costs a call into the kernel for each id.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """Return an id that nobody else will ever make: 128 random bits."""
    return _random.randbytes(16).hex()


def current() -> tuple[str, str]:
    """Return the correlation id and the `traceparent` of what is published here, as far as there are any."""
    inherited = handled.get()
    contexts = sys.modules.get("opentelemetry.context")
    if contexts is None or not contexts.get_current():
        return inherited
    correlation_id, traceparent = inherited
    return correlation_id, _active_span() or traceparent


def _active_span() -> str:
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    # W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
