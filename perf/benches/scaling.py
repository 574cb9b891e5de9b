"""How long one more replica takes, from the request to the answer that it is ready."""

from __future__ import annotations

import time

from perf.record import Record
from perf.stages import Coplane, coplane

COMPONENTS = ("writer", "critic", "fact_checker", "outliner")
LIMIT_S = 10.0


def measure(record: Record) -> None:
    """Add a replica to some components in turn."""
    with coplane("multi") as stage:
        for component in COMPONENTS:
            record.add("replica_ready_ms", "multi", _ready_ms(stage, component))


def _ready_ms(stage: Coplane, component: str) -> float:
    began_s = time.perf_counter()
    stage.client.post(f"/v1/components/{component}/scale", {"replicas": 2, "wait_s": LIMIT_S})
    return (time.perf_counter() - began_s) * 1000
