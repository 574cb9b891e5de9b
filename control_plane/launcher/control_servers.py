"""The control plane's API on its two doors: the Unix socket for its owner, TCP with a token."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from control_plane.api.controller import Controller
from control_plane.api.guard import guarded
from control_plane.runtime.http_server import HttpServer
from control_plane.runtime.paths import RuntimeDir
from control_plane.runtime.ports import bind_public, url_of

BACKLOG = 128
CLOSE_GRACE_S = 1.0


class Doors:
    """The API's listening sockets: bound once, and closed at the end of a launch.

    Between two control planes of one launch, whoever connects waits for the next.
    """

    def __init__(self, runtime: RuntimeDir, host: str, port: int) -> None:
        self.tcp = bind_public(host, port)
        self.owner = _owner_only(runtime)

    @property
    def url(self) -> str:
        """The address of the TCP door."""
        return url_of(self.tcp)

    def close(self) -> None:
        """Turn away whoever waits."""
        self.owner.close()
        self.tcp.close()


@contextlib.asynccontextmanager
async def serving(controller: Controller, runtime: RuntimeDir, doors: Doors) -> AsyncIterator[None]:
    """Serve the API on `control.sock` (mode 0600) and over TCP."""
    app = _OnDemand(controller, runtime.logs)
    behind = ((doors.owner, app), (doors.tcp, guarded(app, controller, token=_token(runtime))))
    servers = [HttpServer(each, sock=door, close_socket=False) for door, each in behind]
    for server in servers:
        await server.start()
    try:
        yield
    finally:
        await asyncio.gather(*(server.stop(grace_s=CLOSE_GRACE_S) for server in servers))


class _OnDemand:
    """The API, made when somebody asks it: while a launch is under way, few do."""

    def __init__(self, controller: Controller, logs: Path) -> None:
        self._controller = controller
        self._logs = logs
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the application."""
        if self._app is None:
            from control_plane.api.app import create_app  # its models too are made when they are asked for

            self._app = create_app(self._controller, logs=self._logs)
        await self._app(scope, receive, send)


def _owner_only(runtime: RuntimeDir) -> socket.socket:
    # We hold the folder's lock, so whoever left this socket is dead: the control plane before us.
    runtime.control_socket.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o177)
    try:
        listener.bind(str(runtime.control_socket))
    finally:
        os.umask(previous)
    listener.listen(BACKLOG)
    return listener


def _token(runtime: RuntimeDir) -> str:
    """Return the bearer token of the TCP door; it is made once and stays between launches."""
    with open(os.open(runtime.token, os.O_CREAT | os.O_RDWR, 0o600), "r+") as file:
        token = file.read().strip()
        if not token:  # new, or a launch died between making the file and writing it
            token = secrets.token_urlsafe(32)
            file.write(token)
    return token
