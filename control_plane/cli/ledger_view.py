"""Draws ledgers: per stream and consumer group, accepted = acknowledged + left for next time + dead letters.

Works on the JSON of `GET /v1/streams`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.cli.show import Cell, Style, table

Ledger = Mapping[str, Any]

_HEADERS = (
    "STREAM",
    "GROUP",
    "ACCEPTED",
    "",
    "ACKNOWLEDGED",
    "",
    "LEFT FOR NEXT TIME",
    "",
    "DEAD LETTERS",
    "",
)
COUNTS = ("accepted", "acknowledged", "left", "dead")


def ledger_lines(ledgers: Sequence[Ledger], style: Style) -> list[str]:
    """Return a table with one line for each ledger, and a line of totals."""
    if not ledgers:
        return ["no stream has been used"]
    total = {
        "stream": "total",
        "group": "",
        **{count: sum(ledger[count] for ledger in ledgers) for count in COUNTS},
        "adds_up": all(ledger["adds_up"] for ledger in ledgers),
    }
    return table(_HEADERS, [_row(ledger) for ledger in [*ledgers, total]], style)


def _row(ledger: Ledger) -> list[Cell]:
    accepted, acknowledged, left, dead = (Cell(f"{ledger[count]:,}", right=True) for count in COUNTS)
    dead = Cell(dead.text, "yellow" if ledger["dead"] else "", right=True)
    verdict = Cell("") if ledger["adds_up"] else Cell("does not add up", "red")
    names = [Cell(ledger["stream"]), Cell(ledger["group"])]
    return [*names, accepted, Cell("="), acknowledged, Cell("+"), left, Cell("+"), dead, verdict]
