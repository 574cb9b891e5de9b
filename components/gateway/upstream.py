"""Connections to a replica behind a socket, with one request at a time on each (HTTP/1.1).

Made for a proxy: a request goes out as it came, and its body in pieces as they come; a replica that does
not read holds up the client that sends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from components.gateway.address import Address
from components.gateway.answer import Answer

CONNECT_TIMEOUT_S = 5.0
# Shorter than the hosts' own, so that a kept connection is not closed as it is used again.
KEEP_ALIVE_S = 60.0


class Connections:
    """The connections to one address; the one that was used last is used again first."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Connection, float] = {}
        self._closed = False

    def take_idle(self) -> Connection | None:
        """Return a connection that is open and free, which from here on is the caller's."""
        oldest_s = self._loop.time() - KEEP_ALIVE_S
        while self._idle:
            connection, since_s = self._idle.popitem()
            if since_s >= oldest_s and connection.is_open:
                connection.was_kept = True
                return connection
            connection.cut()
        return None

    async def open(self) -> Connection:
        """Open a connection.

        Raises:
            OSError: nobody listens there, or nobody accepts within `CONNECT_TIMEOUT_S`.
        """
        address = self._address
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if address.path:
                _, made = await self._loop.create_unix_connection(self._connection, address.path)
            else:
                _, made = await self._loop.create_connection(self._connection, address.host, address.port)
        return made

    def keep(self, connection: Connection) -> None:
        """Have a connection wait for its next request."""
        if self._closed:
            connection.cut()
        else:
            self._idle[connection] = self._loop.time()

    def forget(self, connection: Connection) -> None:
        """Take note that a connection is closed."""
        self._idle.pop(connection, None)

    def close(self) -> None:
        """Close what is free now, and the rest as it becomes free."""
        self._closed = True
        while self._idle:
            self._idle.popitem()[0].cut()

    def _connection(self) -> Connection:
        return Connection(self)


class Connection(asyncio.Protocol):
    """One connection; whoever asks on it calls `done` at last."""

    _transport: asyncio.Transport

    def __init__(self, connections: Connections) -> None:
        self.was_kept = False
        self._connections = connections
        self._answer: Answer | None = None
        self._sending: asyncio.Task[None] | None = None
        self._sent = True
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def is_open(self) -> bool:
        """Tell whether something can be sent."""
        return not self._transport.is_closing()

    def ask(self, request: bytes, *, to_head: bool) -> Answer:
        """Send a request, or its head; return its answer, of which nothing is there yet."""
        answer = self._answer = Answer(self._transport, to_head=to_head)
        self._transport.write(request)
        return answer

    def send(self, body: AsyncGenerator[bytes, None], answer: Answer, *, chunked: bool, asked: bool) -> None:
        """Send a body after its head, as it comes; if `asked`, only where the answer wants it."""
        self._sent = False
        # Owned here: `done` ends it.
        self._sending = asyncio.ensure_future(self._send(body, answer, chunked=chunked, asked=asked))

    def done(self) -> None:
        """Keep the connection for another request, where this one came to its end on both sides."""
        answer, self._answer = self._answer, None
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        if answer is not None and answer.close() and self._sent and self.is_open:
            self._connections.keep(self)
        else:
            self.cut()

    def cut(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    async def _send(
        self, body: AsyncGenerator[bytes, None], answer: Answer, *, chunked: bool, asked: bool
    ) -> None:
        try:
            async with aclosing(body):
                if asked and not await answer.wants_body():
                    return
                async for piece in body:
                    if not self.is_open:
                        return
                    self._transport.write(_chunk(piece) if chunked else piece)
                    await self._writable.wait()
        except ConnectionError:
            self.cut()  # the client left: half a body must not look like a whole one
            return
        if not self.is_open:
            return
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        self._sent = True

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take in what belongs to an answer; nobody asked for anything else."""
        if self._answer is None:
            self.cut()
        else:
            self._answer.feed(data)

    def eof_received(self) -> None:
        """Take note that nothing more will come; the connection is closed then."""
        if self._answer is not None:
            self._answer.end()

    def pause_writing(self) -> None:
        """Hold the body up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on with it."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._writable.set()
        self._connections.forget(self)
        if self._answer is not None:
            self._answer.give_up(ConnectionError("the connection was lost"))


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""  # one of nothing would be the last
