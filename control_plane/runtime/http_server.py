"""Serves an ASGI application with uvicorn's protocols on a socket that is already bound.

uvicorn's own server ticks ten times a second, handles signals and polls while it stops. This one
waits for events only: idle, it has no timer but the keep-alive of open connections.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import Any

from uvicorn.config import Config

from contracts.component import AsgiApp, Receive, Scope, Send
from contracts.errors import ConnectionBroken
from control_plane.runtime.exchanges import ConnectionClosing, Exchange
from control_plane.runtime.http_connections import Connection, ServerConnections

log = logging.getLogger("coplane.http")

KEEP_ALIVE_S = 75  # longer than any client of ours keeps a connection, so that it never finds it closed
CUT_TIMEOUT_S = 1.0
BACKLOG = 2048


class HttpServer:
    """Serves one application on one listening socket.

    With `trusted_proxy`, whoever connects may say who the client is (X-Forwarded-For) and which scheme
    it used: for a socket that only the gateway reaches. The gateway writes the Date of such answers.
    With `close_socket=False` the socket still listens after `stop`, for whoever serves it next.
    """

    def __init__(
        self, app: AsgiApp, *, sock: socket.socket, trusted_proxy: bool = False, close_socket: bool = True
    ) -> None:
        self._app = app
        self._sock = sock
        self._close_socket = close_socket
        self._state = ServerConnections(dated=not trusted_proxy)
        self._exchanges: set[Exchange] = set()
        self._server: asyncio.Server | None = None
        self._config = Config(
            self._serve,
            interface="asgi3",
            http="httptools",
            ws=_websocket,  # type: ignore[arg-type]  # whatever makes a protocol does
            lifespan="off",
            log_config=None,
            log_level="critical",  # what goes wrong is logged here, once
            access_log=False,
            server_header=False,
            proxy_headers=trusted_proxy,
            forwarded_allow_ips="*",
            timeout_keep_alive=KEEP_ALIVE_S,
        )

    async def start(self) -> None:
        """Begin to accept connections."""
        self._config.load()
        self._server = await _listen(self._sock if self._close_socket else self._sock.dup(), self._connect)

    async def stop(self, *, grace_s: float, linger_s: float = 0.0) -> None:
        """Accept nothing new, let requests finish, and cut off what is left after `grace_s`.

        Every answer is the last on its connection; one on which nothing was asked for `linger_s` is
        closed. WebSockets get close code 1012, event streams end.
        """
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._state.retire(linger_s)
        for exchange in self._exchanges:
            exchange.close()
        try:
            emptied = await self._state.wait_empty(grace_s)
        finally:
            self._state.cut()
        if not emptied:
            await self._state.wait_empty(CUT_TIMEOUT_S)

    def _connect(self) -> asyncio.Protocol:
        return Connection(config=self._config, server_state=self._state, app_state={})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        self._exchanges.add(exchange)
        if self._state.linger_s is not None:
            exchange.close()
        try:
            await self._app(scope, exchange.receive, exchange.send)
            if not exchange.complete:  # almost all are: it spares a coroutine
                await exchange.finish()
        except ConnectionClosing:
            if exchange.closing and not exchange.given_up:
                await exchange.finish()
            else:
                exchange.given_up = True  # by the wall around the component, which drains
        except ConnectionBroken as exc:
            # An answer without its end makes uvicorn close the connection: the client sees the truth.
            log.info("http.answer_broken", extra={"path": scope["path"], "error": str(exc)})
        except Exception as exc:
            if exchange.gone and isinstance(exc, OSError):
                return
            log.exception("http.application_failed", extra={"path": scope["path"]})
            raise
        finally:
            self._exchanges.discard(exchange)
            if exchange.given_up:
                # Below the proxy middleware, `send` is a method of who holds the connection.
                send.__self__.transport.abort()  # type: ignore[attr-defined]


def _websocket(**options: Any) -> asyncio.Protocol:
    # Few backends have any, and what they take is a thirtieth of all that is imported for a start.
    from control_plane.runtime.websocket_connections import WebSocket

    return WebSocket(**options)


async def _listen(sock: socket.socket, connect: Any) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if sock.family is not socket.AF_UNIX:
        return await loop.create_server(connect, sock=sock, backlog=BACKLOG)
    # The file belongs to whoever bound it; asyncio and uvloop remove it since Python 3.13.
    keeps_file: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
    return await loop.create_unix_server(connect, sock=sock, backlog=BACKLOG, **keeps_file)
