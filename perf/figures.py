"""What the reports have in common: where they go, the machine, and how a spread is written."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path

REPORTS = Path(__file__).parent / "reports"


def machine() -> str:
    """Return what the figures were measured on, but for the load."""
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores"
    )


def spread(values: Sequence[float]) -> str:
    """Return "median (lowest to highest)"."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def p90(values: Sequence[float]) -> float:
    """Return the value that nine in ten do not exceed (nearest rank)."""
    return sorted(values)[max(0, -(-len(values) * 9 // 10) - 1)]
