"""Reads numbers with units, as the formats have them. Pure; None for what is none."""

from __future__ import annotations

import math
import re

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
_BYTES = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|m|s)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?(b?)", re.IGNORECASE)


def seconds(text: str) -> float | None:
    """Return the seconds of a duration such as `1m30s` or `500ms`; a bare number is seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def mebibytes(text: str) -> int | None:
    """Return the MiB, rounded up, of a size such as `300M`, `1.5g` or `268435456`."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    size = float(found[1]) * _BYTES[found[2].lower()]
    return max(1, math.ceil(size / 2**20))


def milliseconds(value: object) -> float | None:
    """Return the seconds of a number of milliseconds, or of a duration such as `3s` or `2h`."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value / 1000 if value >= 0 else None
    if isinstance(value, str):
        return float(value) / 1000 if value.isdecimal() else seconds(value)
    return None
