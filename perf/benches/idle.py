"""How much of a core each mode takes while nobody asks anything of it.

Both modes are idle at the same time: what disturbs one disturbs the other.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

from perf.record import Record
from perf.stages import coplane
from tests.support.backend import Backend

MODES = ("single", "multi")
SETTLE_S = 5.0


def measure(record: Record, *, idle_s: float) -> None:
    """Launch both modes, and let them stand for `idle_s`."""
    with ExitStack() as stack:
        places = {mode: stack.enter_context(coplane(mode)).place for mode in MODES}
        time.sleep(SETTLE_S)
        before = {mode: cpu_s(place) for mode, place in places.items()}
        began_s = time.perf_counter()
        time.sleep(idle_s)
        for mode, place in places.items():
            used_s = cpu_s(place) - before[mode]
            record.add("idle_cpu_percent", mode, 100 * used_s / (time.perf_counter() - began_s))


def cpu_s(place: Backend) -> float:
    """Return the processor time of all processes so far, in seconds."""
    return sum(sum(process.cpu_times()[:2]) for process in place.processes())
