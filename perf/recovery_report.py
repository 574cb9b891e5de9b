"""Writes what `perf.recovery` measured as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from contracts.specs import HealthSpec
from perf.figures import machine, p90, spread
from perf.peers.supervisors import PEERS
from perf.stages import SERVICES
from perf.trail import STEPS
from perf.wire import CONNECTIONS

Row = dict[str, Any]
OURS = "coplane"
INTERVAL_S = HealthSpec().interval_s
KILL_GOAL_MS, DETECTION_GOAL_MS, HUNG_GOAL_INTERVALS, TAKEOVER_GOAL_S = 300.0, 50.0, 3.0, 1.0


def render(measured: Row) -> str:
    """Return the report."""
    results, versions = measured["results"], measured["versions"]
    parts = [
        _heading(measured),
        _goals(results),
        _killed(results),
        _steps(_all(results[OURS], "kills")),
        _hung(_all(results[OURS], "hung")),
        _control(results),
        _how(versions),
    ]
    return "\n".join(line for part in parts for line in part) + "\n"


def _heading(measured: Row) -> list[str]:
    runs = len(measured["results"][OURS])
    lines = [
        "# Recovery, beside other supervisors",
        "",
        f"{machine()}; {runs} runs of every system in turn, {measured['duration_s']} s in all. "
        f"Each system runs the same {len(SERVICES)} services of the demo backend.",
        "",
    ]
    lines += [f"Left out, {name}: {why}\n" for name, why in measured["left_out"].items()]
    return lines


# What is to be reached.


def _goals(results: dict[str, list[Row]]) -> list[str]:
    medians = {name: _median(_all(runs, "kills"), "answered_ms") for name, runs in results.items()}
    ours = _all(results[OURS], "kills")
    peers = [median for name, median in medians.items() if name != OURS and median is not None]
    ready = medians[OURS]
    told = statistics.median(row["steps_ms"]["death told in the event stream"] for row in ours)
    hung = max(row["noticed_s"] for row in _all(results[OURS], "hung")) / INTERVAL_S
    takeovers = _all(results[OURS], "takeovers")
    took = [row["took_s"] for row in takeovers]
    took_s = None if None in took else statistics.median(took)
    moved = sum(row["services"] - row["kept"] for row in takeovers)
    failed, sent = sum(row["failed"] for row in takeovers), sum(row["sent"] for row in takeovers)
    rows = [
        ("kill to answering again, median", _ms(ready), f"{KILL_GOAL_MS:g} ms", _within(ready, KILL_GOAL_MS)),
        ("kill to death told, median", _ms(told), f"{DETECTION_GOAL_MS:g} ms", told < DETECTION_GOAL_MS),
        (
            "hung loop noticed, longest",
            f"{hung:.2f} intervals",
            f"{HUNG_GOAL_INTERVALS:g}",
            hung <= HUNG_GOAL_INTERVALS,
        ),
        (
            "requests failed while the control plane was away",
            f"{failed} of {sent}",
            "0",
            failed == 0,
        ),
        ("replicas with another pid after a takeover", str(moved), "0", moved == 0),
        (
            "takeover, median",
            "never" if took_s is None else f"{took_s:.2f} s",
            f"{TAKEOVER_GOAL_S:g} s",
            _within(took_s, TAKEOVER_GOAL_S),
        ),
    ]
    if peers and ready is not None:
        share = ready / min(peers)
        rows.insert(1, ("the same, as a share of the best peer's", f"{share:.2f}", "0.33", share <= 1 / 3))
    return [
        *_table(("goal", "measured", "at most", "reached"), [(*row[:3], _yes(row[3])) for row in rows]),
        "",
    ]


# The tables.


def _killed(results: dict[str, list[Row]]) -> list[str]:
    ours = _median(_all(results[OURS], "kills"), "answered_ms")
    rows = []
    for name, runs in results.items():
        kills = _all(runs, "kills")
        median = _median(kills, "answered_ms")
        ratio = f"{median / ours:.1f}" if median and ours else ""
        rows.append(
            (name, len(kills), _ms_spread(kills, "reaped_ms"), _ms_spread(kills, "answered_ms"), ratio)
        )
    head = ("system", "kills", "to reaped, ms", "to the first good answer, ms", "times ours")
    lines = ["## A component is killed (SIGKILL)", "", "Median (lowest, nine in ten, highest).", ""]
    lines += _table(head, rows)
    ended = [row for runs in results.values() for row in _all(runs, "kills") if "all_ended_ms" in row]
    if ended:
        text = _ms_spread(ended, "all_ended_ms")
        lines += ["", f"honcho restarts nothing: it ends everything, within {text} ms of the kill."]
    return [*lines, ""]


def _steps(kills: Sequence[Row]) -> list[str]:
    rows, before = [], 0.0
    for step in STEPS:
        values = [row["steps_ms"][step] for row in kills if step in row["steps_ms"]]
        if values:
            median = statistics.median(values)
            rows.append((step, _spread(values), f"{median - before:.0f}"))
            before = median
    answered = [row["answered_ms"] for row in kills if row["answered_ms"]]
    if answered:
        median = statistics.median(answered)
        rows.append(("first good answer", _spread(answered), f"{median - before:.0f}"))
    return [
        "## Where our time goes",
        "",
        *_table(("step", "since the kill, ms", "since the step before, medians, ms"), rows),
        "",
    ]


def _hung(rows: Sequence[Row]) -> list[str]:
    columns = [[row[key] / INTERVAL_S for row in rows] for key in ("noticed_s", "replaced_s")]
    return [
        "## A loop hangs (SIGSTOP of a host)",
        "",
        f"In health intervals of {INTERVAL_S:g} s, {len(rows)} hosts.",
        "",
        *_table(
            ("system", "noticed in the status", "to ready again"),
            [
                (
                    OURS,
                    *map(spread, columns),
                ),
                ("every peer", "not watched", ""),
            ],
        ),
        "",
    ]


def _control(results: dict[str, list[Row]]) -> list[str]:
    rows = []
    for name, runs in results.items():
        losses = _all(runs, "takeovers")
        if losses:
            took = [row["took_s"] for row in losses if row["took_s"] is not None]
            rows.append(
                (
                    name,
                    len(losses),
                    f"{sum(row['failed'] for row in losses)} of {sum(row['sent'] for row in losses)}",
                    _of_all(losses, "still_there"),
                    _of_all(losses, "kept"),
                    spread(took) if took else "never",
                )
            )
    head = ("system", "times", "requests failed", "old processes alive", "taken over", "takeover, s")
    return ["## The control plane is killed (SIGKILL) and started again", "", *_table(head, rows), ""]


def _how(versions: dict[str, str]) -> list[str]:
    peers = [
        f"- {peer.name} {versions[peer.name]}: {peer.settings}." for peer in PEERS if peer.name in versions
    ]
    return [
        "## How it was measured",
        "",
        "Ours is `ctl launch --mode multi` with `ctl.toml` as it is. In each run another component is killed "
        "each time, so that each kill is the first exit inside its window. A peer runs each service as "
        "`uvicorn perf.peers.service:app` at a port of its own: the component of the demo in a FastAPI "
        "application, with FastStream and redis, beside a Valkey; the gateway is an empty application there. "
        "Settings, the fastest restart that is documented:",
        "",
        *peers,
        "",
        "- Reaped: the killed process has left /proc, looked at every millisecond.",
        "- First good answer: 200 from the component's own page, asked for every millisecond over a new "
        "connection, at the service's port; ours through the gateway, which has to learn of the new host.",
        "- The steps are read from `logs/anchor.log` and from the event and command streams, to the "
        "millisecond. The anchor tells of a death before it logs it.",
        "- Hung: the status is asked for every 20 ms from the SIGSTOP on. Peers, set as above, watch "
        "processes and not loops; circus has a watchdog plugin to which the service itself has to speak.",
        f"- Control plane: {CONNECTIONS} connections that stay open go round the services (ours through the "
        "gateway, a peer's at their ports), while what supervises is killed, is away for a second, and is "
        "started again. Takeover: from the start of the new process until it has every service ready under "
        "it. None of the peers adopts what its predecessor left, so they are asked once, for 8 s.",
        "",
    ]


# Cells.


def _all(runs: Iterable[Row], key: str) -> list[Row]:
    return [row for run in runs for row in run[key]]


def _median(rows: Sequence[Row], key: str) -> float | None:
    """Return the median; None where it never came about."""
    values = [row[key] for row in rows]
    return None if not values or None in values else statistics.median(values)


def _ms_spread(rows: Sequence[Row], key: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    never = len(rows) - len(values)
    text = _spread(values) if values else "never"
    return f"{text}, {never} never" if values and never else text


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}, {p90(values):.0f}, {max(values):.0f})"


def _of_all(rows: Sequence[Row], key: str) -> str:
    return f"{sum(row[key] for row in rows)} of {sum(row['services'] for row in rows)}"


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f} ms"


def _within(value: float | None, goal: float) -> bool:
    return value is not None and value <= goal


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
