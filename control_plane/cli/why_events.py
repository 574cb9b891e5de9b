"""Makes of the events of a component what happened to it, one line a happening.

A death is told by the host or for it, and then decided upon by the control plane; a start and a stop
are told in two or three steps. Each of them is one happening. Knows nothing of I/O.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Json = Mapping[str, Any]

_SIGNAL = re.compile(r"\bsignal (\d+)\b")
_FAILURES = ("failed", "backoff", "lost")
_KILLED = "its host was killed: "
_HOST_COMMANDS = ("replica.start", "replica.stop")


def happenings(events: Sequence[Json]) -> list[dict[str, str]]:
    """Return what happened, oldest first: `at`, `replica`, `what`."""
    teller = _Teller()
    for event in events:
        if isinstance(event.get("data"), dict):
            teller.hear(event)
    return [happening for happening in teller.told if happening["what"]]


def traceback_of(component: Json, events: Sequence[Json]) -> list[str]:
    """Return the traceback of the newest failure; nothing where it is over, or had none."""
    unready = {r["id"] for r in component["replicas"] if r["state"] not in ("ready", "stopped")}
    over: set[str] = set()
    request = last_failed_request(events)
    for event in reversed(events):
        data, replica = event.get("data"), str(event.get("replica"))
        if event.get("type") != "component.transitioned" or not isinstance(data, dict) or replica in over:
            continue
        if data.get("to_state") == "ready":
            over.add(replica)
        elif _is_failure(data) and (replica in unready or request is not None):
            error = data.get("error")
            return str(error.get("detail") or "").rstrip().splitlines() if isinstance(error, dict) else []
    return []


def last_failed_request(events: Sequence[Json]) -> Json | None:
    """Return the event of the latest request of an operator, if it failed."""
    ends = [event for event in events if _is_request_end(event)]
    return ends[-1] if ends and ends[-1].get("type") == "command.failed" else None


def is_stop(event: Json) -> bool:
    """Tell whether the event is about an operator's stop."""
    return _is_request_end(event) and event["data"].get("command") == "stop"


def named(reason: str) -> str:
    """Name the signal in a reason."""

    def name(match: re.Match[str]) -> str:
        try:
            return f"{match[0]} ({signal.Signals(int(match[1])).name})"
        except ValueError:
            return match[0]

    return _SIGNAL.sub(name, reason)


def moment(at: object) -> datetime | None:
    """Return the time of a record, None where it is none."""
    try:
        then = datetime.fromisoformat(str(at))
    except ValueError:
        return None
    return then if then.tzinfo and then.year > 1970 else None


class _Teller:
    """Hears events in their order; `told` is what they come to so far."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []
        self._starts: dict[str, dict[str, str]] = {}
        self._stops: dict[str, dict[str, str]] = {}
        self._ends: dict[str, dict[str, str]] = {}

    def hear(self, event: Json) -> None:
        """Take in the next event."""
        data = event["data"]
        match event.get("type"):
            case "component.transitioned":
                self._hear_transition(event, data)
            case "command.completed" if _is_request_end(event):
                self._tell(event, f"'{data.get('command')}' was done, as somebody asked")
            case "command.failed" if _is_request_end(event):
                error = data.get("error") or {}
                self._tell(event, f"'{data.get('command')}' failed: {error.get('why') or error.get('what')}")
            case "loop.blocked":
                times = f" ({data['count']} times)" if data.get("count", 1) != 1 else ""
                what = (
                    f"blocked its event loop for {data.get('duration_ms')} ms at {data.get('culprit')}{times}"
                )
                self._tell(event, what)

    def _hear_transition(self, event: Json, data: Json) -> None:
        replica, to_state = str(event.get("replica")), data.get("to_state")
        if to_state in _FAILURES:
            if _is_failure(data):
                self._hear_failure(replica, event, data)
            return
        self._ends.pop(replica, None)
        reason = f": {named(str(data['reason']))}" if data.get("reason") else ""
        match to_state:
            case "starting":
                self._starts[replica] = self._tell(event, "starts")
            case "draining":
                self._stops[replica] = self._tell(event, f"drains{reason}")
            case "stopping":
                if replica not in self._stops:
                    self._stops[replica] = self._tell(event, f"stops{reason}")
            case "ready" if start := self._withdrawn(self._starts, replica):
                self._tell(event, f"started, and was ready{_after(start, event)}")
            case "stopped" if stop := self._withdrawn(self._stops, replica):
                self._tell(event, f"drained, and was stopped{_after(stop, event)}{reason}")
            case "ready":
                self._tell(event, "was ready again")
            case _:
                self._tell(event, f"became {to_state}{reason}")

    def _hear_failure(self, replica: str, event: Json, data: Json) -> None:
        start = self._withdrawn(self._starts, replica)
        what = _failure(data, start, event)
        earlier = self._ends.get(replica)
        if earlier is None:
            self._ends[replica] = self._tell(event, what + _next(data))
        else:
            earlier["what"] = _merged(earlier["what"], what) + _next(data)
        if not data.get("host") and data.get("to_state") != "lost":
            del self._ends[replica]  # That was the decision.

    def _withdrawn(self, phase: dict[str, dict[str, str]], replica: str) -> Json | None:
        """Return the beginning of a phase that is over; what was told of it is told with its end."""
        begun = phase.pop(replica, None)
        if begun is not None:
            begun["what"] = ""
        return begun

    def _tell(self, event: Json, what: str) -> dict[str, str]:
        told = {"at": str(event.get("at")), "replica": str(event.get("replica") or ""), "what": what}
        self.told.append(told)
        return told


def _is_failure(data: Json) -> bool:
    # That the host of what has failed is gone afterwards is tidying up, and no news.
    is_over = data.get("to_state") == "lost" and data.get("from_state") in ("failed", "backoff")
    return data.get("to_state") in _FAILURES and not is_over


def _failure(data: Json, start: Json | None, event: Json) -> str:
    reason = named(str(data.get("reason") or ""))
    for prefix, verb in (
        (_KILLED, "was killed by the control plane: "),
        ("its process was killed: ", "was killed by the control plane: "),
        ("its process ", ""),
        ("its host ended with signal", "was killed by signal"),
        ("its host ended with", "ended with"),
        ("its host was silent", "was silent"),
    ):
        if reason.startswith(prefix):
            return verb + reason.removeprefix(prefix)
    verb = f"failed to start{_after(start, event)}" if start else "failed"
    return f"{verb}: {reason}" if reason else verb


def _merged(earlier: str, what: str) -> str:
    """Return what the control plane made of an end; how it began is kept where that says more."""
    if earlier.startswith("failed to start"):
        return what.replace("failed", earlier.partition(":")[0], 1) if what.startswith("failed") else earlier
    return f"{earlier}; {what}" if earlier.startswith("was silent") and what not in earlier else what


def _next(data: Json) -> str:
    retry_in_s = data.get("retry_in_s")
    if data.get("to_state") != "backoff" or retry_in_s is None:
        return ""
    return f"; again in {retry_in_s:.1f} s" if retry_in_s >= 0.05 else "; started again at once"


def _after(begun: Json, event: Json) -> str:
    then, now = moment(begun.get("at")), moment(event.get("at"))
    if then is None or now is None:
        return ""
    length_s = max(0.0, (now - then).total_seconds())
    return f" after {length_s:.1f} s" if length_s >= 1 else f" after {length_s * 1_000:.0f} ms"


def _is_request_end(event: Json) -> bool:
    data = event.get("data")
    is_end = event.get("type") in ("command.completed", "command.failed") and isinstance(data, dict)
    return is_end and not event["data"].get("host") and event["data"].get("command") not in _HOST_COMMANDS
