"""What the control plane takes for the heartbeats of many components, and how fast it knows them all.

At every size as many heartbeats a second as 1,000 hosts send at their interval: what differs is how much
there is to know, and nothing else.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext
from pathlib import Path

from perf.record import Record
from perf.simulated import COMPONENTS_A_HOST, INTERVAL_S, Measured, supervise, write_heartbeats
from tests.support.redis_servers import running_server

HOSTS = (10, 100, 1000)
A_SECOND = max(HOSTS) / INTERVAL_S
WINDOW_S = 6.0


def measure(record: Record) -> None:
    """Let a control plane take over that many components, one size after another, to and fro."""
    for hosts in (*HOSTS, *reversed(HOSTS)):
        measured, system = _taken_over(hosts), str(hosts * COMPONENTS_A_HOST)
        record.add("event_us", system, 1e6 * measured.cpu_s / measured.heard)
        if hosts == max(HOSTS):
            record.add("control_cpu_percent", system, 100 * measured.cpu_s / measured.took_s)
            # Below 100 it falls behind, and its processor time says too little.
            record.add("heard_percent", system, 100 * measured.heard / measured.took_s / A_SECOND)
            record.add("rebuild_intervals", system, measured.rebuild_s / INTERVAL_S)


def _taken_over(hosts: int) -> Measured:
    # Forked, they would share a collector's burden and a bus connection's state with this process.
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server("valkey", Path(folder)) as server,
        _speaking(context, server.url, hosts),
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        return pool.submit(supervise, server.url, hosts=hosts, window_s=WINDOW_S).result()


@contextmanager
def _speaking(context: SpawnContext, url: str, hosts: int) -> Iterator[None]:
    options = {"hosts": hosts, "a_second": A_SECOND}
    writer = context.Process(target=write_heartbeats, args=(url,), kwargs=options, daemon=True)
    writer.start()
    try:
        yield
    finally:
        writer.terminate()
        writer.join()
