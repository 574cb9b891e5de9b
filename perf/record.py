"""What a benchmark measured: samples by measurement and system, one or more a round, in the order of rounds.

The last part of a measurement's name is its unit: `start_s`, `memory_mb`, `remote_rps`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Samples = Mapping[str, Mapping[str, Sequence[float]]]


class Record:
    """Takes the samples of all benchmarks, and what was left out."""

    def __init__(self) -> None:
        self.samples: dict[str, dict[str, list[float]]] = {}
        self.left_out: dict[str, str] = {}
        self.versions: dict[str, str] = {}

    def add(self, measurement: str, system: str, value: float) -> None:
        """Add a sample."""
        self.samples.setdefault(measurement, {}).setdefault(system, []).append(value)

    def leave_out(self, what: str, why: str) -> None:
        """Take note of what could not be measured here."""
        self.left_out[what] = why

    def median(self, measurement: str, system: str) -> float:
        """Return the median over the rounds.

        Raises:
            KeyError: it was not measured.
        """
        return statistics.median(self.samples[measurement][system])

    def as_json(self) -> dict[str, Any]:
        """Return everything, for the raw JSON."""
        return {"versions": self.versions, "left_out": self.left_out, "samples": self.samples}
