"""One line of a log: structured where it is a JSON record, else raw text of stdout or stderr.

Nothing that a component prints can fail here: what is no record is text, what is no text is escaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LEVELS = ("debug", "info", "warning", "error", "critical")
RAW_LEVEL = "info"

_HEADER = frozenset({"at", "level", "component", "replica", "logger", "message", "exc"})
_REPLICA_LABEL = re.compile(r"(?P<component>.+)-\d+")


@dataclass(frozen=True)
class LogLine:
    """A line of a log; `label` names the file it stood in: a replica's id, a group, `control`."""

    at: datetime
    message: str
    label: str
    level: str = RAW_LEVEL
    component: str = ""
    replica: str = ""
    logger: str = ""
    exc: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def source(self) -> str:
        """Return who wrote it, as a reader wants to see it."""
        return self.replica or self.label

    @property
    def severity(self) -> int:
        """Return the level's place in `LEVELS`; a level of somebody's own counts as `info`."""
        return LEVELS.index(self.level) if self.level in LEVELS else LEVELS.index(RAW_LEVEL)

    def as_dict(self) -> dict[str, Any]:
        """Return the line as one flat JSON object."""
        shown = {
            "at": self.at.isoformat(timespec="milliseconds"),
            "level": self.level,
            "component": self.component,
            "replica": self.replica,
            "label": self.label,
            "logger": self.logger,
            "message": self.message,
            **self.fields,
        }
        return {**shown, "exc": self.exc} if self.exc else shown


def component_of(label: str) -> str:
    """Return the component whose replica's file this is, or "" where the file belongs to no replica."""
    match = _REPLICA_LABEL.fullmatch(label)
    return match["component"] if match else ""


def parse(raw: bytes, *, label: str, raw_at: datetime) -> LogLine:
    """Read a line; `raw_at` is the time of a line that carries none."""
    text = raw.decode("utf-8", errors="backslashreplace").rstrip("\r\n")
    return _structured(text, label) or _raw(text, label, raw_at)


def _structured(text: str, label: str) -> LogLine | None:
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
        at = datetime.fromisoformat(record["at"])
        message = record["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not datetime.min.year < at.year < datetime.max.year:
        return None  # no local time can be told of it
    return LogLine(
        at=at if at.tzinfo else at.replace(tzinfo=UTC),
        message=str(message),
        label=label,
        level=str(record.get("level") or RAW_LEVEL),
        component=str(record.get("component") or component_of(label)),
        replica=str(record.get("replica") or ""),
        logger=str(record.get("logger") or ""),
        exc=str(record.get("exc") or ""),
        fields={key: value for key, value in record.items() if key not in _HEADER},
    )


def _raw(text: str, label: str, raw_at: datetime) -> LogLine:
    component = component_of(label)
    return LogLine(
        at=raw_at, message=text, label=label, component=component, replica=label if component else ""
    )
