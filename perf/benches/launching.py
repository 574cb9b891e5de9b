"""How long each system takes from its command until every service answers, and how much memory it then has.

Memory is the sum of PSS (proportional set size: a shared page counts once) over every process of the
system; of ours with the control plane, the anchor and Valkey, of the others without their server.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import psutil

from perf.peers.supervisors import Peer
from perf.record import Record
from perf.stages import Stage, coplane, peer_stage
from tests.support.backend import Backend

SETTLE_S = 2.0


def measure(record: Record, *, peers: list[Peer], tools: Path) -> None:
    """Launch every system once."""
    stages: dict[str, Callable[[], AbstractContextManager[Stage]]] = {
        "single": partial(coplane, "single"),
        "multi": partial(coplane, "multi"),
    }
    stages |= {peer.name: partial(peer_stage, peer, tools) for peer in peers}
    for name, stage in stages.items():
        with ExitStack() as stack:
            running = stack.enter_context(stage())
            record.add("start_s", name, running.start_s)
            time.sleep(SETTLE_S)
            record.add("memory_mb", name, pss_mb(running.place))


def pss_mb(place: Backend) -> float:
    """Return the proportional set size of all processes together, in megabytes."""
    return sum(_pss_bytes(process) for process in place.processes()) / 1e6


def _pss_bytes(process: psutil.Process) -> int:
    return int(process.memory_full_info().pss)
