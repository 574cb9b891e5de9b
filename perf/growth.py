"""Whether something grows: compares the second quarter of its samples with the last.

The first quarter is the warm-up: caches fill, pools open, streams reach what they keep. What goes on growing
after that, beyond a bound, is a leak. Knows no I/O.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

QUARTERS = 4
MIB = 1 << 20
# What one process may gain in a run, for Python's arenas fill up in no even way.
MEMORY_SHARE, MEMORY_SLACK_BYTES = 0.15, 4 * MIB
DESCRIPTORS_SLACK = 8
TASKS_SLACK = 8
# An entry of a stream in Valkey, with its index and what a story's shared state leaves behind.
BYTES_PER_ENTRY = 1024
# Trimmed about, by whole nodes of a radix tree: up to 100 entries too many.
TRIM_SLACK = 100


@dataclass(frozen=True)
class Growth:
    """How a series was after its warm-up and at its end, and how high it may be there."""

    name: str
    early: float
    late: float
    bound: float

    @property
    def within(self) -> bool:
        """Tell whether it kept its bound."""
        return self.late <= self.bound


def ends(samples: Sequence[float]) -> tuple[float, float]:
    """Return the medians of the second and of the last quarter."""
    quarter = max(1, len(samples) // QUARTERS)
    return statistics.median(samples[quarter : 2 * quarter] or samples), statistics.median(samples[-quarter:])


def memory(name: str, samples_bytes: Sequence[float], *, entries: float = 0) -> Growth:
    """Judge a process's memory; Valkey's may grow by what the streams hold more, of `entries`."""
    early, late = ends(samples_bytes)
    slack = max(MEMORY_SHARE * early, MEMORY_SLACK_BYTES) + max(0.0, entries) * BYTES_PER_ENTRY
    return Growth(name, early, late, early + slack)


def counted(name: str, samples: Sequence[float], *, slack: int) -> Growth:
    """Judge a number of descriptors or tasks."""
    early, late = ends(samples)
    return Growth(name, early, late, early + slack)


def stream(name: str, samples: Sequence[float], *, kept: int) -> Growth:
    """Judge the length of a stream by what it may hold, at its longest."""
    return Growth(name, ends(samples)[0], max(samples), kept + TRIM_SLACK if kept else 0)
