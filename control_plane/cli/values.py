"""Reads what stands on a command line: durations, lists, `NAME=N`."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
MAX_REPLICAS = 256


def duration_s(text: str) -> float:
    """Return the seconds of `90`, `5m`, `1h30m`, `250ms`."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ArgumentTypeError(f"{text!r} is no duration; write 90, 5m or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def positive_duration_s(text: str) -> float:
    """Return the seconds of a duration that is longer than nothing."""
    seconds = duration_s(text)
    if seconds <= 0:
        raise ArgumentTypeError(f"{text!r} must be more than 0")
    return seconds


def names(text: str) -> tuple[str, ...]:
    """Return the names of `a,b` or `["a", "b"]`; none is more likely an unset variable than a wish."""
    listed = _json_list(text) if text.lstrip().startswith("[") else text.split(",")
    found = tuple(name.strip() for name in listed if name.strip())
    if not found:
        raise ArgumentTypeError(f"{text!r} names nothing")
    return found


def _json_list(text: str) -> list[str]:
    import json

    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ArgumentTypeError(f"{text!r} is no JSON list of names")
    return listed


def name_and_number(text: str) -> tuple[str, int]:
    """Return the parts of `writer=3`."""
    name, equals, number = text.partition("=")
    if not name or not equals or not number.isascii() or not number.isdigit():
        raise ArgumentTypeError(f"{text!r} is not NAME=N")
    if int(number) > MAX_REPLICAS:
        raise ArgumentTypeError(f"{text!r} is more than {MAX_REPLICAS} replicas")
    return name, int(number)


def pattern(text: str) -> re.Pattern[str]:
    """Return a compiled regular expression."""
    try:
        return re.compile(text)
    except re.error as exc:
        raise ArgumentTypeError(f"{text!r} is no regular expression: {exc}") from exc
