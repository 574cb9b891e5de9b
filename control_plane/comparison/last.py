"""The last comparison of a backend, which mode `auto` goes by."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.specs import Mode

if TYPE_CHECKING:
    from control_plane.comparison.figures import Comparison

NAME = "comparison.json"


def remember(home: Path, comparison: Comparison, at: datetime) -> Path:
    """Write a comparison to the runtime folder, and return where."""
    path, told = home / NAME, {"at": at.isoformat(timespec="seconds"), **asdict(comparison)}
    path.write_text(json.dumps(told, indent=2) + "\n")
    return path


def last_comparison(home: Path) -> tuple[Mode, str] | None:
    """Return the mode that the last comparison speaks for, and why; None where it speaks for none."""
    try:
        found = json.loads((home / NAME).read_text())
        return Mode(found["recommended"]), f"by the comparison of {found['at'][:10]}: {found['why']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None
