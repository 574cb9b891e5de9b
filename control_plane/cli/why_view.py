"""Tells the story of a component: one sentence, its replicas, what happened, its log, what to do.

Knows nothing of I/O: JSON of the API comes in, lines go out.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from control_plane.cli.show import Cell, Style, table
from control_plane.cli.status_view import duration_text, state_cell

Json = Mapping[str, Any]

EVENTS_SHOWN = 12
TRACEBACK_LINES_SHOWN = 6
_WIDTH = 160
_SIGNAL = re.compile(r"\bsignal (\d+)\b")
_LOG_HEADER = ("at", "level", "component", "replica", "label", "logger", "message", "exc", "detail")
_WAITING = ("pending", "stopped")


def story(
    component: Json,
    known: Mapping[str, Json],
    events: Sequence[Json],
    logs: Sequence[Json],
    *,
    now: datetime,
) -> dict[str, Any]:
    """Return what `ctl why --json` prints; `known` are all components by their names."""
    told = [event for event in events if _what(event)]
    name = component["name"]
    return {
        "component": name,
        "state": component["state"],
        "sentence": _sentence(component, known, told, now),
        "replicas": component["replicas"],
        "waits_for": _unready(component, known),
        "waited_for_by": [n for n, other in known.items() if name in _unready(other, known)],
        "events": told[-EVENTS_SHOWN:],
        "logs": list(logs),
        "advice": _advice(component, known, told),
    }


def story_lines(told: Json, style: Style, *, now: datetime) -> list[str]:
    """Return the story on one screen."""
    lines = [style.paint(_short(told["sentence"]), "bold")]
    if told["replicas"]:
        lines += ["", *_replica_table(told["replicas"], now, style)]
    for label, key in (("waits for", "waits_for"), ("waited for by", "waited_for_by")):
        if told[key]:
            lines.append(f"{label} {', '.join(told[key])}")
    lines += _section("what happened", [_event_line(event) for event in told["events"]])
    lines += _section("traceback", _traceback(told["events"]))
    lines += _section("log", [_log_line(line) for line in told["logs"]])
    return [*lines, *_section("what to do", told["advice"])]


# The sentence.


def _sentence(component: Json, known: Mapping[str, Json], events: Sequence[Json], now: datetime) -> str:
    name, state = component["name"], component["state"]
    if state in _WAITING and component["desired"] != "stopped" and (root := _root(component, known)):
        return f"{name} waits for {root['name']}, which {_is_in(root)}"
    if component["desired"] == "stopped":
        return f"{name} is {state}, as somebody asked"
    if state == "ready":
        return f"{name} is ready{_since(component)}{_restarts(component, events, now)}"
    return f"{name} {_is_in(component)}"


def _is_in(component: Json) -> str:
    state, worst = component["state"], _worst(component)
    verb = {"failed": "has failed", "backoff": "is in backoff"}.get(state, f"is {state}")
    if worst is None:
        return verb
    retry_in_s = worst.get("retry_in_s")
    again = f" (again in {retry_in_s:.1f} s)" if retry_in_s is not None else ""
    reason = f": {_named(worst['reason'])}" if worst["reason"] else ""
    return f"{verb}{again}{reason}"


def _worst(component: Json) -> Json | None:
    replicas = component["replicas"]
    same = [replica for replica in replicas if replica["state"] == component["state"]]
    unready = [replica for replica in replicas if replica["state"] != "ready"]
    return next((r for r in [*same, *unready] if r["reason"]), next(iter(same or unready or replicas), None))


def _root(component: Json, known: Mapping[str, Json]) -> Json | None:
    """Follow the chain of what is waited for to its end."""
    root, seen = None, {component["name"]}
    while behind := [name for name in _unready(component, known) if name not in seen]:
        root = component = known[behind[0]]
        seen.add(behind[0])
        if component["state"] not in _WAITING:
            break
    return root


def _unready(component: Json, known: Mapping[str, Json]) -> list[str]:
    if component["state"] not in _WAITING or component["desired"] == "stopped":
        return []
    names = component["depends_on"]
    return [name for name in names if name in known and known[name]["state"] not in ("ready", "degraded")]


def _since(component: Json) -> str:
    uptimes = [replica["uptime_s"] for replica in component["replicas"] if replica["uptime_s"]]
    return f", since {duration_text(min(uptimes))}" if uptimes else ""


def _restarts(component: Json, events: Sequence[Json], now: datetime) -> str:
    count = sum(replica["restarts"] for replica in component["replicas"])
    if not count:
        return ""
    text = f"; {count} restart{'s' if count > 1 else ''}"
    exits = [event for event in events if event["data"].get("to_state") == "backoff"]
    if not exits:
        return text
    reason = exits[-1]["data"].get("reason") or "of an unknown reason"
    return f"{text}, the last {_age(exits[-1].get('at'), now)} because {_named(reason)}"


# The parts below it.


def _replica_table(replicas: Sequence[Json], now: datetime, style: Style) -> list[str]:
    rows = [
        [
            Cell(replica["id"]),
            state_cell(replica["state"]),
            Cell(str(replica["pid"] or "-"), right=True),
            Cell(duration_text(replica["uptime_s"]) if replica["uptime_s"] else "-", right=True),
            Cell(str(replica["restarts"]), right=True),
            Cell(_health(replica["health"], now)),
        ]
        for replica in replicas[:8]
    ]
    return table(("REPLICA", "STATE", "PID", "UPTIME", "RESTARTS", "HEALTH"), rows, style)


def _health(health: Json | None, now: datetime) -> str:
    return f"{health['status'][:60]} {_age(health['checked_at'], now)}" if health else "-"


def _what(event: Json) -> str:
    """Return what an event means to a person; "" for what does not belong to the story."""
    data = event.get("data")
    if not isinstance(data, dict):
        return ""
    match event.get("type"):
        case "component.transitioned":
            reason = f": {_named(str(data['reason']))}" if data.get("reason") else ""
            return f"{data.get('from_state')} → {data.get('to_state')}{reason}"
        case "command.completed" if not data.get("host"):
            return f"request '{data.get('command')}' done"
        case "command.failed":
            error = data.get("error") or {}
            return f"'{data.get('command')}' failed: {error.get('what', '')} {error.get('why', '')}".rstrip()
        case "loop.blocked":
            times = f" ({data['count']} times)" if data.get("count", 1) != 1 else ""
            return f"blocked its event loop for {data.get('duration_ms')} ms at {data.get('culprit')}{times}"
    return ""


def _event_line(event: Json) -> str:
    return f"{_local(event.get('at'))}  {event.get('replica') or '-':<12} {_what(event)}"


def _traceback(events: Sequence[Json]) -> list[str]:
    errors = [event["data"].get("error") for event in events]
    details = [str(error["detail"]) for error in errors if isinstance(error, dict) and error.get("detail")]
    return details[-1].rstrip().splitlines()[-TRACEBACK_LINES_SHOWN:] if details else []


def _log_line(line: Json) -> str:
    fields = "".join(f" {key}={value}" for key, value in line.items() if key not in _LOG_HEADER)
    return f"{_local(line['at'])}  {line['level']:<8} {line['message']}{fields}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {_short(line)}" for line in lines)] if lines else []


def _short(text: str) -> str:
    line = Style(colour=False).harmless(text.replace("\n", " "))
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _named(reason: str) -> str:
    """Name the signal in a reason; SIGKILL that nobody here sent is most often the kernel's."""

    def name(match: re.Match[str]) -> str:
        try:
            known = signal.Signals(int(match[1])).name
        except ValueError:
            return match[0]
        hint = "; maybe out of memory" if known == "SIGKILL" else ""
        return f"{match[0]} ({known}{hint})"

    return _SIGNAL.sub(name, reason)


def _age(at: object, now: datetime) -> str:
    moment = _moment(at)
    return f"{duration_text(max(0.0, (now - moment).total_seconds()))} ago" if moment else "some time ago"


def _local(at: object) -> str:
    moment = _moment(at)
    return f"{moment.astimezone():%H:%M:%S}" if moment else " " * 8


def _moment(at: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(at))
    except ValueError:
        return None
    return moment if moment.tzinfo and moment.year > 1970 else None


# What to do.


def _advice(component: Json, known: Mapping[str, Json], events: Sequence[Json]) -> list[str]:
    name, reasons = component["name"], " ".join(r["reason"] or "" for r in component["replicas"])
    if root := _root(component, known):
        return [f"ctl why {root['name']}"]
    advice = []
    if component["desired"] == "stopped":
        return [f"ctl start {name}"]
    if "crash loop" in reasons:
        advice.append(f"mend the cause, then: ctl start {name}")
    elif component["state"] == "failed":
        advice.append(f"mend the module or its configuration, then: ctl restart {name}")
    if "was not ready within" in reasons:
        advice.append(f"raise `startup_timeout_s` of [components.{name}] if it needs longer")
    if any(event.get("type") == "loop.blocked" for event in events):
        advice.append(f"keep it from blocking known: ctl move {name} --to isolated")
    return [*advice, f"ctl logs {name}"] if component["state"] != "ready" or advice else []
