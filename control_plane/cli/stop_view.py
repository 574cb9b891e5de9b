"""Says what a stop of everything came to, from the JSON of a `StopReport`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.errors import ControlError
from control_plane.cli.ledger_view import COUNTS, ledger_lines
from control_plane.cli.show import Style


def stop_lines(report: Mapping[str, Any], style: Style) -> list[str]:
    """Return the ledgers of the streams that were used, and which hosts had to be killed."""
    used = [ledger for ledger in report["streams"] if any(ledger[count] for count in COUNTS)]
    forced = report["forced"]
    killed = [style.paint(f"killed, not drained: {', '.join(forced)}", "red")] if forced else []
    return [*killed, *ledger_lines(used, style)]


def verdict(report: Mapping[str, Any]) -> ControlError | None:
    """Return the error that the report amounts to, or None."""
    if report["ok"]:
        return None
    if report.get("problem"):
        return ControlError("the ledgers could not be read", why=report["problem"], code="E3005")
    wrong = [ledger for ledger in report["streams"] if not ledger["adds_up"]]
    return ControlError(
        "the ledger does not add up",
        why="; ".join(f"stream '{ledger['stream']}' of '{ledger['group']}'" for ledger in wrong),
        fix="Messages of these streams were lost or counted twice; see the logs of their components",
        code="E3005",
    )
