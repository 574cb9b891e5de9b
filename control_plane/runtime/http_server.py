"""uvicorn without its clockwork: no signal handlers, no tick ten times a second, no logging set-up.

Idle it has no timer at all. The Date header is made on demand, at most once a second.
"""

from __future__ import annotations

import asyncio
import socket
import time
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from contracts.component import AsgiApp

KEEP_ALIVE_S = 75
CANCEL_TIMEOUT_S = 1.0


class HttpServer:
    """Serves an ASGI application on a socket that is bound already.

    Args:
        app: the application.
        sock: a listening socket; it is closed when the server stops.
        trusted_proxy: believe X-Forwarded-For and -Proto of whoever connects. For sockets that only our
            gateway can reach.
    """

    def __init__(self, app: AsgiApp, *, sock: socket.socket, trusted_proxy: bool = False) -> None:
        self._config = uvicorn.Config(
            app,
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=trusted_proxy,
            forwarded_allow_ips="*" if trusted_proxy else None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            http="httptools",
            ws="websockets-sansio",
        )
        self._socket = sock
        self._server = uvicorn.Server(self._config)
        self._state = _State()
        self._server.server_state = self._state

    async def start(self) -> None:
        """Accept connections."""
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[self._socket])

    async def stop(self, *, grace_s: float) -> None:
        """Accept no more, let open requests finish for `grace_s`, then cut what is left."""
        if not self._server.started:
            self._socket.close()
            return
        for listener in self._server.servers:
            listener.close()
        self._socket.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if not await self._state.until_empty(grace_s):
            self._cut()
            await self._state.until_empty(CANCEL_TIMEOUT_S)

    def _cut(self) -> None:
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            if connection.transport is not None:
                connection.transport.abort()


class _Noticed(set[Any]):
    """A set that tells when its last member has left."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = asyncio.Event()
        self.empty.set()

    def add(self, member: Any) -> None:
        super().add(member)
        self.empty.clear()

    def discard(self, member: Any) -> None:
        super().discard(member)
        if not self:
            self.empty.set()

    def remove(self, member: Any) -> None:
        super().remove(member)
        if not self:
            self.empty.set()


class _State(ServerState):
    """uvicorn's shared state, whose default headers are right whenever they are read."""

    def __init__(self) -> None:
        self.total_requests = 0
        self._open, self._running = _Noticed(), _Noticed()
        self.connections = self._open
        self.tasks = self._running
        self._dated_s = 0
        self._headers: list[tuple[bytes, bytes]] = []

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        """Return the Date header of this second."""
        now_s = int(time.time())
        if now_s != self._dated_s:
            self._dated_s = now_s
            self._headers = [(b"date", formatdate(now_s, usegmt=True).encode())]
        return self._headers

    async def until_empty(self, timeout_s: float) -> bool:
        """Wait until no connection and no request is left; return whether that came about."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._open or self._running:
                    await self._open.empty.wait()
                    await self._running.empty.wait()
        except TimeoutError:
            return False
        return True
