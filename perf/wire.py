"""Plain HTTP for benchmarks: one poll that costs little, and a load over connections that stay open."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle

CONNECTIONS = 4
PAUSE_S = 0.01  # of each connection, between an answer and the next request
TIMEOUT_S = 5.0

Address = tuple[str, int]
Target = tuple[Address, str]


def answers(target: Target) -> bool:
    """Return whether a GET over a new connection is answered with 200."""
    (host, port), path = target
    try:
        with socket.create_connection((host, port), timeout=TIMEOUT_S) as wire:
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return wire.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class Load:
    """Requests that go round the targets, and what came of them."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self.done = threading.Event()
        self.sent = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        """Send one request after another, until `done`."""
        connections: dict[Address, http.client.HTTPConnection] = {}
        for address, path in cycle(self._targets):
            if self.done.wait(PAUSE_S):
                break
            if address not in connections:
                connections[address] = http.client.HTTPConnection(*address, timeout=TIMEOUT_S)
            failure = _failure_of(connections[address], path)
            with self._lock:
                self.sent += 1
                if failure:
                    self.failures.append(failure)
        for connection in connections.values():
            connection.close()


def _failure_of(connection: http.client.HTTPConnection, path: str) -> str:
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as exc:
        connection.close()
        return f"{path}: {type(exc).__name__}: {exc}"
    return "" if answer.status == 200 else f"{path}: {answer.status}"


@contextmanager
def load_on(targets: Sequence[Target]) -> Iterator[Load]:
    """Keep the targets under load; what came of it is complete when the block has ended."""
    load = Load(targets)
    threads = [threading.Thread(target=load.run) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.done.set()
        for thread in threads:
            thread.join()


class ReapWatch:
    """Sees when a killed process was reaped by its parent: until then it is a zombie in /proc."""

    def __init__(self, pid: int, *, limit_s: float) -> None:
        self._path = f"/proc/{pid}/stat"
        self._limit_s = limit_s
        self.reaped_s: float | None = None
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        ends_s = time.perf_counter() + self._limit_s
        while time.perf_counter() < ends_s:
            try:
                open(self._path).close()
            except FileNotFoundError:
                self.reaped_s = time.perf_counter()
                return
            time.sleep(0.001)

    def __enter__(self) -> ReapWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
