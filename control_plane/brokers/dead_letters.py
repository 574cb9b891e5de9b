"""What a dead letter says: the message as it was, and why it could not be handled."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime

from control_plane.brokers.transport import Delivery

TRACEBACK_CHARS = 2000


def dead_letter_fields(
    delivery: Delivery, error: BaseException, *, stream: str, group: str
) -> dict[str, str]:
    """Return the fields of the dead letter: those of the entry, and what became of it.

    The traceback is cut at its beginning: the user's own lines are at its end.
    """
    trace = "".join(traceback.format_exception(error)) if error.__traceback__ else ""
    return {
        **delivery.entry.fields,
        "error": _readable(f"{type(error).__name__}: {error}"),
        "traceback": _readable(trace[-TRACEBACK_CHARS:]),
        "stream": stream,
        "group": group,
        "original_id": delivery.entry.id,
        "deliveries": str(delivery.deliveries),
        "dead_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _readable(text: str) -> str:
    # The name of a file that is not UTF-8 holds lone surrogates, which no bus takes.
    return text.encode(errors="backslashreplace").decode()
