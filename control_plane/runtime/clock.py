"""Where time comes from: a monotonic clock for durations, UTC for records."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_s() -> float:
    """Return monotonic seconds."""
    return time.monotonic()


def utc_now() -> datetime:
    """Return the present time in UTC, to the millisecond."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
