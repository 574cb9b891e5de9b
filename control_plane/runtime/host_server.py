"""The HTTP side of a host: a socket of its own, and the public ones where it holds the gateway.

The host's socket answers for every component in it, and under `/-/` for the host itself. The public
sockets were bound by the launcher and stay open whatever the gateway does: clients wait in their backlog
until the gateway is ready, and no connection is refused while it restarts.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from fastapi.responses import JSONResponse

from contracts.component import AsgiApp, Receive, Scope, Send
from contracts.problems import nobody_answers, send_problem
from contracts.status import ReplicaReport, ReplicaState
from control_plane.runtime.http_server import HttpServer
from control_plane.runtime.mounts import MountTable
from control_plane.runtime.ports import url_of

BACKLOG = 512
CLOSE_GRACE_S = 2.0


class HostServer:
    """Serves the host's own socket at once, and the public ones from the gateway's first readiness on."""

    def __init__(
        self,
        listen: str,
        *,
        public_sockets: Sequence[socket.socket],
        reports: Callable[[], list[ReplicaReport]],
    ) -> None:
        self._listen = listen
        self._public_sockets = tuple(public_sockets)
        self._own_pages = HostPages(reports)
        self.set_apps({})
        self._gateways: dict[str, AsgiApp] = {}
        self._public_app: AsgiApp | None = None
        self._own: HttpServer | None = None
        self._public: list[HttpServer] = []
        self.endpoint = listen

    @property
    def public_url(self) -> str:
        """Return the address of the public socket, empty where this host has none."""
        return url_of(self._public_sockets[0]) if self._public_sockets else ""

    async def start(self) -> None:
        """Listen on the host's own socket."""
        listener, self.endpoint = _listener(self._listen)
        self._own = HttpServer(self._answer, sock=listener, trusted_proxy=True)
        await self._own.start()

    def set_apps(self, apps: Mapping[str, AsgiApp]) -> None:
        """Swap the whole table of what components answer, by prefix."""
        self._apps = MountTable({**apps, "/-": self._own_pages}, behind_gateway=True)

    async def open_to_the_public(self, replica: str, app: AsgiApp) -> None:
        """Let a replica of the gateway answer on the public sockets, in the place of older ones."""
        self._gateways[replica] = app
        self._public_app = self._newest_gateway()
        if not self._public:
            self._public = [
                HttpServer(self._answer_public, sock=sock, close_socket=False)
                for sock in self._public_sockets
            ]
            for server in self._public:
                await server.start()

    async def close_to_the_public(self, replica: str, *, grace_s: float, linger_s: float = 0.0) -> None:
        """Hand nothing more to a replica of the gateway; without another one here, accept no more.

        The sockets stay open, and new clients wait in their backlog for a gateway here or elsewhere. What
        still comes on open connections is answered by the last one, so that none of it is lost.
        """
        self._gateways.pop(replica, None)
        if self._gateways:
            self._public_app = self._newest_gateway()
            return
        await self._stop_public(grace_s=grace_s, linger_s=linger_s)

    async def stop(self) -> None:
        """Close all servers; what is open after a short grace is cut."""
        await self._stop_public(grace_s=CLOSE_GRACE_S)
        if self._own is not None:
            await self._own.stop(grace_s=CLOSE_GRACE_S)
        path = urlsplit(self.endpoint).path
        if self.endpoint.startswith("unix:"):
            Path(path).unlink(missing_ok=True)

    async def _stop_public(self, *, grace_s: float, linger_s: float = 0.0) -> None:
        servers, self._public = self._public, []
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                tasks.create_task(server.stop(grace_s=grace_s, linger_s=linger_s))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._apps(scope, receive, send)

    async def _answer_public(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._public_app is not None, "the public socket is served once there is a gateway"
        await self._public_app(scope, receive, send)

    def _newest_gateway(self) -> AsgiApp:
        return next(reversed(self._gateways.values()))


class HostPages:
    """`/-/health` and `/-/ready` of a host, for probes."""

    def __init__(self, reports: Callable[[], list[ReplicaReport]]) -> None:
        self._reports = reports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 200, or 503 where a replica is not ready."""
        if scope["path"] == "/-/health":
            await JSONResponse({"status": "ok"})(scope, receive, send)
        elif scope["path"] == "/-/ready":
            states = {report.replica: report.state.value for report in self._reports()}
            ready = all(state == ReplicaState.READY for state in states.values())
            answer = JSONResponse({"ready": ready, "replicas": states}, 200 if ready else 503)
            await answer(scope, receive, send)
        else:
            await send_problem(scope, send, nobody_answers(scope["path"]))


def _listener(listen: str) -> tuple[socket.socket, str]:
    """Bind `unix:///path` or `tcp://host:port`; return the socket and the address others reach it by."""
    parts = urlsplit(listen)
    if parts.scheme == "unix":
        Path(parts.path).unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        previous = os.umask(0o177)
        try:
            listener.bind(parts.path)
        finally:
            os.umask(previous)
        listener.listen(BACKLOG)
        return listener, listen
    listener = socket.create_server((parts.hostname or "127.0.0.1", parts.port or 0), backlog=BACKLOG)
    return listener, f"tcp://{listener.getsockname()[0]}:{listener.getsockname()[1]}"
