"""Draws a status: the same table for `ctl status` and for a launch, and one line for each change.

Works on the JSON of `GET /v1/status`, so that no model has to be loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from control_plane.cli.show import Cell, Style, table

Status = Mapping[str, Any]

STATE_COLOURS = {
    "ready": "green",
    "degraded": "yellow",
    "backoff": "yellow",
    "failed": "red",
    "lost": "red",
    "starting": "cyan",
    "pending": "dim",
    "draining": "magenta",
    "stopping": "magenta",
    "stopped": "dim",
}
_HEADERS = ("COMPONENT", "REPLICA", "STATE", "PID", "UPTIME", "RESTARTS", "HEALTH", "RSS", "REASON")


def status_lines(status: Status, components: Sequence[Status], style: Style) -> list[str]:
    """Return a head line, the warnings, and the table of the components that were asked for."""
    rows = [row for component in components for row in _rows(component)]
    warnings = [
        style.paint(f"warning: {style.harmless(text)}", "yellow") for text in status.get("warnings", ())
    ]
    return [_head(status, style), *warnings, "", *table(_HEADERS, rows, style)]


def replica_states(status: Status) -> dict[str, str]:
    """Return the state of each replica by its id, and what it waits for."""
    return {replica["id"]: _known_by(replica) for replica in _replicas(status)}


def changes(before: Mapping[str, str], status: Status) -> Iterator[str]:
    """Give one line for each replica that is in another state than `before`, or waits for something else."""
    plain = Style(colour=False)
    for replica in _replicas(status):
        if before.get(replica["id"]) != _known_by(replica):
            reason = f" ({plain.harmless(replica['reason'])})" if replica["reason"] else ""
            yield f"{replica['id']} {replica['state']}{reason}"


def _known_by(replica: Status) -> str:
    state: str = replica["state"]
    return f"{state} {replica['reason']}" if state == "pending" else state


def state_cell(state: str) -> Cell:
    """Return a state in its colour."""
    return Cell(state, STATE_COLOURS.get(state, ""))


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units."""
    minutes, seconds_left = divmod(int(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days}d {hours_left}h"
    if hours:
        return f"{hours}h {minutes_left}m"
    return f"{minutes}m {seconds_left}s" if minutes else f"{seconds_left}s"


def urls(status: Status) -> str:
    """Return where the backend and its control plane answer."""
    backend, control = status["gateway"]["url"], f"control {status['control_plane']['url']}"
    if not backend:  # the legacy launcher has no gateway
        return control
    own = (f"{name} {url}" for name, url in status["gateway"].get("listeners", {}).items())
    return "  ".join([f"backend {backend}", *own, f"docs {backend}/-/docs", control])


def _head(status: Status, style: Style) -> str:
    ready = style.paint("ready", "green") if status["ready"] else style.paint("not ready", "yellow")
    bus = status["bus"]
    link = bus["kind"] if bus["connected"] else style.paint(f"{bus['kind']} (disconnected)", "red")
    parts = [style.paint(status["app"], "bold"), status["mode"], ready, urls(status), f"bus {link}"]
    return "  ".join(parts)


def _rows(component: Status) -> Iterator[list[Cell]]:
    name = component["name"]
    for replica in component["replicas"]:
        yield [Cell(name), *_replica_cells(replica)]
        name = ""
    if not component["replicas"]:
        yield [Cell(name), Cell("-"), state_cell(component["state"]), *[Cell("")] * (len(_HEADERS) - 3)]


def _replica_cells(replica: Status) -> list[Cell]:
    return [
        Cell(replica["id"]),
        state_cell(replica["state"]),
        Cell(str(replica["pid"] or "-"), right=True),
        Cell(duration_text(replica["uptime_s"]) if replica["uptime_s"] else "-", right=True),
        Cell(str(replica["restarts"]), "yellow" if replica["restarts"] else "", right=True),
        _health_cell(replica["health"]),
        Cell(f"{replica['rss_bytes'] / 1e6:.0f} MB" if replica["rss_bytes"] else "-", right=True),
        Cell(_reason(replica)),
    ]


def _health_cell(health: Status | None) -> Cell:
    if health is None:
        return Cell("-")
    return Cell(
        f"{health['status'][:20]} {health['latency_ms']:.1f} ms", "" if health["status"] == "ok" else "yellow"
    )


def _reason(replica: Status) -> str:
    parts = [replica["reason"].replace("\n", " ")] if replica["reason"] else []
    if replica.get("retry_in_s") is not None:
        parts.append(f"again in {replica['retry_in_s']:.1f} s")
    return "; ".join(parts)


def _replicas(status: Status) -> Iterator[Status]:
    for component in status["components"]:
        yield from component["replicas"]
