"""Tells the story of a component: one sentence, its replicas, what happened, its log, what to do.

Knows nothing of I/O: JSON of the API comes in, lines go out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from control_plane.cli.show import Cell, Style, table
from control_plane.cli.status_view import duration_text, state_cell
from control_plane.cli.why_events import happenings, is_stop, last_failed_request, moment, named, traceback_of

Json = Mapping[str, Any]

SCREEN_LINES = 40
EVENTS_SHOWN = 12
EVENTS_SHOWN_AT_LEAST = 4
REPLICAS_SHOWN = 6
TRACEBACK_LINES_SHOWN = 6
BLOCK_IS_RECENT_S = 600.0
_WIDTH = 160
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
    name = component["name"]
    return {
        "component": name,
        "state": component["state"],
        "sentence": _sentence(component, known, events, now),
        "replicas": component["replicas"],
        "waits_for": _unready(component, known),
        "waited_for_by": [n for n, other in known.items() if name in _unready(other, known)],
        "happened": happenings(events)[-EVENTS_SHOWN:],
        "traceback": traceback_of(component, events)[-TRACEBACK_LINES_SHOWN:],
        "logs": list(logs),
        "advice": _advice(component, known, events, now),
    }


def story_lines(told: Json, style: Style, *, now: datetime) -> list[str]:
    """Return the story on one screen; where it is too long, what happened first is left out."""
    head = [style.paint(_short(told["sentence"]), "bold")]
    if told["replicas"]:
        head += ["", *_replica_table(told["replicas"], now, style)]
    for label, key in (("waits for", "waits_for"), ("waited for by", "waited_for_by")):
        if told[key]:
            head.append(_short(f"{label} {', '.join(told[key])}"))
    tail = _section("traceback", told["traceback"])
    tail += _section("log", [_log_line(line) for line in told["logs"]])
    tail += _section("what to do", told["advice"])
    room = max(EVENTS_SHOWN_AT_LEAST, SCREEN_LINES - len(head) - len(tail) - 2)
    happened = [_happening_line(happening) for happening in told["happened"][-room:]]
    return [*head, *_section("what happened", happened), *tail]


# The sentence.


def _sentence(component: Json, known: Mapping[str, Json], events: Sequence[Json], now: datetime) -> str:
    name, state = component.get("shown", component["name"]), component["state"]
    if state in _WAITING and component["desired"] != "stopped" and (root := _root(component, known)):
        return f"{name} waits for {root['name']}, which {_is_in(root)}"
    if component["desired"] == "stopped":
        return f"{name} is {state}, as somebody asked{_asked(events, now)}"
    if state == "ready":
        return f"{name} is ready{_since(component)}{_restarts(component, events, now)}{_failure(events)}"
    return f"{name} {_is_in(component)}"


def _asked(events: Sequence[Json], now: datetime) -> str:
    stops = [event for event in events if event.get("type") == "command.completed" and is_stop(event)]
    return f", {_age(stops[-1].get('at'), now)}" if stops else ""


def _failure(events: Sequence[Json]) -> str:
    """Tell of a restart (or scaling, or move) that failed, and left what ran before running."""
    failed = last_failed_request(events)
    if failed is None:
        return ""
    error = failed["data"].get("error") or {}
    why = _hinted(str(error.get("why") or error.get("what")))
    return f"; the last {failed['data'].get('command')} failed: {why}"


def _is_in(component: Json) -> str:
    state, worst = component["state"], _worst(component)
    verb = {"failed": "has failed", "backoff": "is in backoff"}.get(state, f"is {state}")
    if worst is None:
        return verb
    retry_in_s = worst.get("retry_in_s")
    again = f" (again in {retry_in_s:.1f} s)" if retry_in_s is not None else ""
    reason = f": {_hinted(worst['reason'])}" if worst["reason"] else ""
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
    return f"{text}, the last {_age(exits[-1].get('at'), now)} because {_hinted(reason)}"


# The parts below it.


def _replica_table(replicas: Sequence[Json], now: datetime, style: Style) -> list[str]:
    # Those that are not ready are the ones that are asked about.
    in_order = replicas if len(replicas) <= REPLICAS_SHOWN else sorted(replicas, key=_is_ready)
    shown = in_order[:REPLICAS_SHOWN]
    rows = [
        [
            Cell(replica["id"]),
            state_cell(replica["state"]),
            Cell(str(replica["pid"] or "-"), right=True),
            Cell(duration_text(replica["uptime_s"]) if replica["uptime_s"] else "-", right=True),
            Cell(str(replica["restarts"]), right=True),
            Cell(_health(replica["health"], now)),
        ]
        for replica in shown
    ]
    lines = table(("REPLICA", "STATE", "PID", "UPTIME", "RESTARTS", "HEALTH"), rows, style)
    return [*lines, *_folded(in_order[REPLICAS_SHOWN:])]


def _is_ready(replica: Json) -> bool:
    return bool(replica["state"] == "ready")


def _folded(replicas: Sequence[Json]) -> list[str]:
    if not replicas:
        return []
    states = Counter(replica["state"] for replica in replicas)
    which = ", ".join(f"{count} {state}" for state, count in states.items())
    if len(states) == 1:
        which = f"all {next(iter(states))}"
    return [f"and {len(replicas)} more replica{'s' if len(replicas) > 1 else ''}, {which}"]


def _health(health: Json | None, now: datetime) -> str:
    return f"{health['status'][:60]} {_age(health['checked_at'], now)}" if health else "-"


def _happening_line(happening: Json) -> str:
    return f"{_local(happening['at'])}  {happening['replica'] or '-':<12} {happening['what']}"


def _log_line(line: Json) -> str:
    fields = "".join(f" {key}={value}" for key, value in line.items() if key not in _LOG_HEADER)
    return f"{_local(line['at'])}  {line['level']:<8} {line['message']}{fields}"


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{title}:", *(f"  {_short(line)}" for line in lines)] if lines else []


def _short(text: str) -> str:
    line = Style(colour=False).harmless(text.replace("\n", " "))
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _hinted(reason: str) -> str:
    """Name the signal; SIGKILL that nobody here sent is most often the kernel's."""
    return named(reason).replace("(SIGKILL)", "(SIGKILL; maybe out of memory)")


def _age(at: object, now: datetime) -> str:
    then = moment(at)
    return f"{duration_text(max(0.0, (now - then).total_seconds()))} ago" if then else "some time ago"


def _local(at: object) -> str:
    then = moment(at)
    return f"{then.astimezone():%H:%M:%S}" if then else " " * 8


# What to do.


def _advice(component: Json, known: Mapping[str, Json], events: Sequence[Json], now: datetime) -> list[str]:
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
    advice += _unblocking(component, known, events, now)
    return [*advice, f"ctl logs {name}"] if component["state"] != "ready" or advice else []


def _unblocking(
    component: Json, known: Mapping[str, Json], events: Sequence[Json], now: datetime
) -> list[str]:
    """Repeat the hint of the latest block; to isolate it only where something shares its host now."""
    blocks = [event for event in events if event.get("type") == "loop.blocked" and _is_recent(event, now)]
    if not blocks:
        return []
    data = blocks[-1]["data"]
    off_the_loop, *isolate = str(data.get("hint", "")).split(", or isolate it: ")
    advice = [f"{off_the_loop} (in {data.get('culprit')})"] if off_the_loop else []
    return [*advice, *(isolate if _has_neighbours(component, known) else [])]


def _is_recent(event: Json, now: datetime) -> bool:
    then = moment(event.get("at"))
    return then is not None and (now - then).total_seconds() < BLOCK_IS_RECENT_S


def _has_neighbours(component: Json, known: Mapping[str, Json]) -> bool:
    hosts = {replica.get("host") for replica in component["replicas"]} - {None}
    return any(
        replica.get("host") in hosts
        for name, other in known.items()
        if name != component["name"]
        for replica in other["replicas"]
    )
