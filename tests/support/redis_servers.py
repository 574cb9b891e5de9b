"""Real Redis and Valkey servers for tests, on a Unix socket, with the append-only file on."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from control_plane.runtime.valkey import find_server
from tests.support.wait import wait_until

KINDS = ("valkey", "redis")


def binary(kind: str) -> str | None:
    """Return the server's binary, None where this machine has none."""
    if kind == "valkey":
        return str(find_server())
    return shutil.which("redis-server")


class Server:
    """One server over one folder; it can be stopped, killed and started again with its data."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        # A path of its own: AF_UNIX paths are short, those of pytest's folders are not.
        self._sockets = Path(tempfile.mkdtemp(prefix="ctl-", dir="/tmp"))
        self._socket = self._sockets / "bus.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{self._socket}"

    @property
    def pid(self) -> int:
        """Return the server's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers."""
        path = binary(self.kind)
        assert path is not None
        command = [path, "--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._folder)]
        options = [
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
            "--enable-debug-command",
            "yes",
        ]
        self._process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        wait_until(self._answers, 10.0)

    def stop(self) -> None:
        """Let it write its data and end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a word."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again over its data."""
        self.kill()
        self.start()

    def remove(self) -> None:
        """Kill it and remove its socket."""
        self.kill()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1.0)
                probe.connect(str(self._socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def _end(self, with_signal: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(with_signal)
            process.wait(10.0)


@contextmanager
def running_server(kind: str, folder: Path) -> Iterator[Server]:
    """Run a server for the length of a block; its address is `.url`."""
    server = Server(kind, folder)
    try:
        server.start()
        yield server
    finally:
        server.remove()
