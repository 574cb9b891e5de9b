"""How long the gateway's health takes on an idle backend, and with a busy loop on each core beside it."""

from __future__ import annotations

import http.client
import time
from urllib.parse import urlsplit

from perf.launches import every_core_busy
from perf.record import Record
from tests.support.backend import backend

REQUESTS = 300
TIMEOUT_S = 10.0


def measure(record: Record) -> None:
    """Launch the demo in multi mode and ask for its health, one request after another."""
    with backend() as novel:
        novel.start("--mode", "multi")
        url = urlsplit(novel.until_ready()["gateway"]["url"])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=TIMEOUT_S)
        connection.connect()
        record.add("health_p99_ms", "idle", _p99_ms(connection))
        with every_core_busy():
            record.add("health_p99_ms", "loaded", _p99_ms(connection))
        connection.close()


def _p99_ms(connection: http.client.HTTPConnection) -> float:
    durations_ms = sorted(_asked_ms(connection) for _ in range(REQUESTS))
    return durations_ms[-(-REQUESTS * 99 // 100) - 1]  # nearest rank


def _asked_ms(connection: http.client.HTTPConnection) -> float:
    began_s = time.perf_counter()
    connection.request("GET", "/-/health")
    answer = connection.getresponse()
    answer.read()
    took_s = time.perf_counter() - began_s
    # http.client would open another connection without a word, and its set-up would be measured too.
    if answer.status != 200 or answer.will_close:
        raise RuntimeError(f"/-/health: {answer.status}, will close: {answer.will_close}")
    return took_s * 1000
