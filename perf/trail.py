"""Where the time of one recovery goes, read from what the anchor logs and the streams carry.

All of these are UTC to the millisecond; that is how fine the steps are told apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

STEPS = (
    "reaped by the anchor",
    "death told in the event stream",
    "new host forked",
    "first heartbeat",
    "start commanded",
    "starting",
    "ready",
)

Entry = tuple[str, Mapping[str, str]]


def trail(
    component: str,
    *,
    killed_s: float,
    anchor_lines: Iterable[str],
    events: Sequence[Entry],
    commands: Sequence[Entry],
) -> dict[str, float]:
    """Return the milliseconds from the kill to each step that was seen; each counts the first time.

    Args:
        killed_s: when the old host was killed, in seconds since 1970.
        commands: the entries of the component's command stream.
    """
    seen: dict[str, float] = {}

    def note(step: str, at: str) -> None:
        passed_ms = (datetime.fromisoformat(at).timestamp() - killed_s) * 1000
        if passed_ms > -1:  # what is rounded down to the millisecond may seem to come before the kill
            seen.setdefault(step, max(0.0, passed_ms))

    for line in map(json.loads, filter(_is_json, anchor_lines)):
        if line["message"] == "host.gone":
            note("reaped by the anchor", line["at"])
        elif line["message"] == "host.spawned":
            note("new host forked", line["at"])
    for _, fields in events:
        step = _step_of(component, fields["type"], fields.get("component", ""), json.loads(fields["data"]))
        if step:
            note(step, fields["at"])
    for _, fields in commands:
        if fields["type"] == "replica.start":
            note("start commanded", fields["at"])
    return {step: seen[step] for step in STEPS if step in seen}


def _is_json(line: str) -> bool:
    return line.startswith("{")


def _step_of(component: str, kind: str, about: str, data: Mapping[str, Any]) -> str | None:
    if kind == "host.heartbeat":
        states = {report["component"]: report["state"] for report in data["replicas"]}
        return "first heartbeat" if states.get(component) == "pending" else None
    if kind != "component.transitioned" or about != component:
        return None
    told = {"lost": "death told in the event stream", "starting": "starting", "ready": "ready"}
    return told.get(data["to_state"])
