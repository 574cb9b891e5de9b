"""Draws log lines: time, who wrote it in a colour of its own, level, message, fields, traceback."""

from __future__ import annotations

import json
import zlib
from datetime import date

from control_plane.cli.show import Style
from control_plane.logs import LogLine

_PALETTE = ("cyan", "green", "magenta", "blue", "yellow")
_LEVEL_COLOURS = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "red"}
_NAME_WIDTH = 18


def log_text(line: LogLine, style: Style, *, today: date) -> str:
    """Return the line as a person reads it, in local time; the day is said where it is not today."""
    at = line.at.astimezone()
    day = "" if at.date() == today else f"{at:%Y-%m-%d} "
    name = f"{style.harmless(line.source):<{_NAME_WIDTH}}"
    level = f"{line.level[:8]:<8}" if line.logger else " " * 8
    return " ".join(
        [
            style.paint(f"{day}{at:%H:%M:%S}.{at.microsecond // 1000:03}", "dim"),
            style.paint(name, _colour_of(line)),
            style.paint(level, _LEVEL_COLOURS.get(line.level, "")),
            style.harmless(plain_text(line)),
        ]
    )


def plain_text(line: LogLine) -> str:
    """Return message, fields and traceback, as `--grep` sees them."""
    fields = "".join(f" {key}={_value(value)}" for key, value in line.fields.items() if value is not None)
    return f"{line.message}{fields}" + (f"\n{line.exc}" if line.exc else "")


def _value(value: object) -> str:
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)


def _colour_of(line: LogLine) -> str:
    # Of the name, not of the order of appearance: a component keeps its colour from launch to launch.
    return _PALETTE[zlib.crc32((line.component or line.label).encode()) % len(_PALETTE)]
