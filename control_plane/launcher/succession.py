"""What passes from one anchor of a launch to the next, when one has died.

The public sockets and the doors of the API stay bound, so that clients wait and are not refused; what was
wanted and observed is handed on. Anchors that die again and again end the launch.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from socket import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

from control_plane.runtime.paths import RuntimeDir
from control_plane.runtime.ports import bind_public

if TYPE_CHECKING:
    # They load while the first anchor is on its way.
    from contracts.errors import CoplaneError
    from control_plane.core.state import State
    from control_plane.launcher.control_servers import Doors
    from control_plane.runtime.remains import Remains

MAX_DEATHS = 5
WINDOW_S = 60.0
REAP_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Legacy:
    """What a control plane leaves behind whose anchor has died.

    Attributes:
        error: how it was noticed.
        state: what was wanted and observed; None where it had not come that far.
        remains: the hosts, which stop by themselves.
        public_urls: where clients connect, or wait.
        was_ready: the launch had been ready before.
        stopping: everything was to stop.
    """

    error: CoplaneError
    state: State | None
    remains: Remains
    public_urls: tuple[str, ...]
    was_ready: bool = False
    stopping: bool = False


@dataclass
class Standing:
    """What stays while anchors come and go; `anchor_pid` is the present one, if it is ours to end."""

    runtime: RuntimeDir
    public: list[socket] = field(default_factory=list)
    doors: Doors | None = None
    anchor_pid: int | None = None

    def open_doors(self, host: str, port: int) -> Doors:
        """Bind the doors of the API, unless they are.

        Raises:
            LaunchError: the port is taken (E2001).
        """
        from control_plane.launcher.control_servers import Doors

        self.doors = self.doors or Doors(self.runtime, host, port)
        return self.doors

    def close_doors(self) -> None:
        """Turn away whoever asks from now on."""
        if self.doors is not None:
            self.doors.close()

    def bind_public_again(self, urls: Sequence[str]) -> None:
        """Bind the addresses of an anchor that we had taken over, whose sockets died with it.

        Raises:
            LaunchError: somebody else has taken one (E2001).
        """
        for address in map(urlsplit, urls):
            self.public.append(bind_public(address.hostname or "", address.port or 0))

    def reap_anchor(self) -> int | None:
        """Let the dead anchor go and return how it ended; one that only does not answer is ended first."""
        return self._wait_for_anchor(REAP_TIMEOUT_S)

    def end_anchor(self, *, timeout_s: float) -> None:
        """End our anchor, and wait: who interrupts a launch early does so before it answers."""
        if self.anchor_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.anchor_pid, signal.SIGTERM)
            self._wait_for_anchor(timeout_s)

    def _wait_for_anchor(self, timeout_s: float) -> int | None:
        """Wait until our anchor has ended, kill it if that takes longer, and return how it ended."""
        pid, self.anchor_pid = self.anchor_pid, None
        if pid is None:
            return None
        exit_code = None
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            anchor = psutil.Process(pid)
            try:
                exit_code = anchor.wait(timeout_s)
            except psutil.TimeoutExpired:
                anchor.kill()
                exit_code = anchor.wait(REAP_TIMEOUT_S)
        # A child that it had just forked may listen on the socket for some milliseconds more.
        self.runtime.anchor_socket.unlink(missing_ok=True)
        return exit_code

    def close(self) -> None:
        """Close every socket."""
        self.close_doors()
        for public in self.public:
            public.close()


@dataclass
class Deaths:
    """Counts the anchors that died of late."""

    at_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_DEATHS + 1))

    def one_more_is_too_many(self, now_s: float) -> bool:
        """Note a death; tell whether there were more than `MAX_DEATHS` within `WINDOW_S`."""
        self.at_s.append(now_s)
        return len(self.at_s) > MAX_DEATHS and now_s - self.at_s[0] <= WINDOW_S
