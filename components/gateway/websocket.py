"""Relays a WebSocket between a client and a replica behind a socket.

Messages, subprotocol, close codes and reasons pass in both directions; pings are answered on each
side by itself. A refused handshake keeps its status, headers and body.
"""

from __future__ import annotations

import asyncio
import contextlib

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.http11 import Request as Handshake
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from components.gateway.address import Address
from components.gateway.headers import Header, answer_headers
from components.gateway.request import Request, Unanswered, broke, late
from contracts.problems import REFUSED, Problem, not_ready, send_problem

CLOSE_TIMEOUT_S = 5.0
MESSAGES_QUEUED = 4

# Close codes that are never sent, but stand for a connection that ended without saying why.
_NO_CODE = 1005
_LOST = 1006

# What a client is told where the replica gave no code that can be sent.
_CLOSE_CODES = {_NO_CODE: 1000, _LOST: 1014, None: 1014}


async def relay_websocket(address: Address, request: Request) -> None:
    """Connect to the replica and relay until either side closes.

    Raises:
        Unanswered: no connection, no answer in time, or a draining replica.
    """
    try:
        async with asyncio.timeout(request.deadlines.length_s):
            connection = await _connect(address, request)
    except TimeoutError as exc:
        raise Unanswered(late(request), resend=False) from exc
    except InvalidStatus as exc:
        await _refuse(request, exc.response)
        return
    except (OSError, InvalidHandshake) as exc:
        raise Unanswered(broke(request.component), resend=True) from exc
    try:
        await _accept(connection, request)
        await _relay(connection, request)
    finally:
        connection.transport.abort()


async def _connect(address: Address, request: Request) -> ClientConnection:
    loop = asyncio.get_running_loop()

    def connection() -> ClientConnection:
        return ClientConnection(
            _protocol(request), ping_interval=None, close_timeout=CLOSE_TIMEOUT_S, max_queue=MESSAGES_QUEUED
        )

    try:
        if address.path:
            _, made = await loop.create_unix_connection(connection, address.path)
        else:
            _, made = await loop.create_connection(connection, address.host, address.port)
    except OSError as exc:
        raise Unanswered(broke(request.component), resend=True, untouched=True) from exc
    try:
        await made.handshake(user_agent_header=None)
    except BaseException:
        made.transport.abort()
        raise
    return made


def _protocol(request: Request) -> ClientProtocol:
    scope = request.scope
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return _AsTheClient(
        WebSocketURI(False, "localhost", 80, path, query),
        request.outbound.headers,
        [Subprotocol(name) for name in scope.get("subprotocols", ())],
    )


class _AsTheClient(ClientProtocol):
    """Opens a connection with the client's own headers."""

    def __init__(self, uri: WebSocketURI, headers: list[Header], subprotocols: list[Subprotocol]) -> None:
        # No limit on the size of a message: the replica has it in memory whole.
        super().__init__(uri, subprotocols=subprotocols or None, max_size=None)
        self._client_headers = headers

    def connect(self) -> Handshake:
        """Return the handshake request."""
        handshake = super().connect()
        del handshake.headers["Host"]
        for name, value in self._client_headers:
            if not name.startswith(b"sec-websocket-"):
                handshake.headers[name.decode("ascii")] = value.decode("latin-1")
        return handshake


async def _accept(connection: ClientConnection, request: Request) -> None:
    assert connection.response is not None
    await request.send(
        {
            "type": "websocket.accept",
            "subprotocol": connection.subprotocol,
            "headers": _own_headers(connection.response),
        }
    )


async def _refuse(request: Request, response: Response) -> None:
    headers = _own_headers(response)
    if any(name.lower() == REFUSED.decode() for name in response.headers):
        raise Unanswered(not_ready(request.component), resend=True, untouched=True)
    answer = Problem(response.status_code, headers, bytes(response.body or b""))
    await send_problem(request.scope, request.send, answer)


def _own_headers(response: Response) -> list[Header]:
    """Return what the application said, without what the handshake itself needs."""
    headers = [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in response.headers.raw_items()
    ]
    return [
        (name, value)
        for name, value in answer_headers(headers)
        if not name.startswith(b"sec-websocket-") and name != b"date"
    ]


async def _relay(connection: ClientConnection, request: Request) -> None:
    async with asyncio.TaskGroup() as directions:
        up = directions.create_task(_to_replica(connection, request))
        down = directions.create_task(_to_client(connection, request))
        up.add_done_callback(lambda _: down.cancel())
        down.add_done_callback(lambda _: up.cancel())


async def _to_replica(connection: ClientConnection, request: Request) -> None:
    while True:
        message = await request.receive()
        match message["type"]:
            case "websocket.receive":
                text = message.get("text")
                # A replica that has closed is heard of in the other direction.
                with contextlib.suppress(ConnectionClosed):
                    await connection.send(message["bytes"] if text is None else text)
            case "websocket.disconnect":
                code = message.get("code") or _NO_CODE
                if code not in (_NO_CODE, _LOST):
                    await connection.close(code, message.get("reason") or "")
                return
            case _:
                pass  # websocket.connect: the replica has been asked already


async def _to_client(connection: ClientConnection, request: Request) -> None:
    # A client that has left is heard of in the other direction.
    with contextlib.suppress(OSError):
        with contextlib.suppress(ConnectionClosed):
            while True:
                data = await connection.recv()
                kind = "text" if isinstance(data, str) else "bytes"
                await request.send({"type": "websocket.send", kind: data})
        code, reason = _CLOSE_CODES.get(connection.close_code, connection.close_code), connection.close_reason
        await request.send({"type": "websocket.close", "code": code, "reason": reason or ""})
