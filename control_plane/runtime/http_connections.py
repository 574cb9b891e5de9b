"""uvicorn's connections, and what they share, for a server that waits for events and loses no request.

HTTP/1.1 has no way to take a connection back: a client may send its next request at the moment in which
we close. So a retired connection says `Connection: close` in its next answer, and is closed unasked only
when nothing came for a while and nothing unread is left in its buffer (as nginx's
`keepalive_min_timeout` and HAProxy's `idle-close-on-response` have it).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import struct
import termios
import time
from email.utils import formatdate
from typing import Any, TypeVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

T = TypeVar("T")


class Connection(HttpToolsProtocol):
    """An HTTP connection that can be retired; a short answer goes out in one piece."""

    server_state: ServerConnections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it in; one that was accepted as the server closed retires at once."""
        super().connection_made(transport)
        if self.server_state.linger_s is not None:
            self.retire(self.server_state.linger_s)

    def retire(self, linger_s: float) -> None:
        """Let the next answer be the last; close when nothing was asked for `linger_s`.

        An answer whose head is out already could not say so: a further request may follow it.
        """
        self.timeout_keep_alive = linger_s  # type: ignore[assignment]  # uvicorn takes fractions as well
        if self.cycle is None or self.cycle.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(linger_s, self.timeout_keep_alive_handler)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    def on_headers_complete(self) -> None:
        """Begin to answer a request."""
        previous = self.cycle
        super().on_headers_complete()
        if self.cycle is not previous:
            self.cycle.transport = _Corked(self.transport, self.loop)  # type: ignore[assignment]
            if self.server_state.linger_s is not None:
                self.cycle.keep_alive = False

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, unless a request is there that the loop has yet to read."""
        if not self.transport.is_closing() and not _has_unread(self.transport):
            self.transport.close()


class _Corked:
    """A connection as one answer sees it: its first piece waits for the second, where that comes at once.

    uvicorn writes head and body one after the other, and each time is a system call.
    """

    __slots__ = ("_begun", "_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._begun = False

    def write(self, data: bytes) -> None:
        """Write, with what was held back."""
        if self._held:
            data, self._held = self._held + data, b""
        elif not self._begun:
            self._begun, self._held = True, data
            self._loop.call_soon(self.flush)
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Write what is held back, if anything is."""
        held, self._held = self._held, b""
        if held and not self._transport.is_closing():
            self._transport.write(held)

    def close(self) -> None:
        """Close the connection once everything is written."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Tell whether the connection is closed, or about to be."""
        return self._transport.is_closing()


class ServerConnections(ServerState):
    """What the connections of a server share, with a Date header that is renewed when it is asked for."""

    def __init__(self, *, dated: bool) -> None:
        super().__init__()
        self.linger_s: float | None = None
        self._dated = dated
        self._dated_s = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._emptied = asyncio.Event()
        self.connections: _Open[Any] = _Open(self._emptied)
        self.tasks: _Open[asyncio.Task[None]] = _Open(self._emptied)

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        now_s = int(time.time())
        if self._dated and now_s != self._dated_s:
            self._dated_s = now_s
            self._headers = [(b"date", formatdate(now_s, usegmt=True).encode())]
        return self._headers

    @default_headers.setter
    def default_headers(self, value: list[tuple[bytes, bytes]]) -> None:
        self._headers = value

    def retire(self, linger_s: float) -> None:
        """Retire every connection, those that are yet to appear too."""
        self.linger_s = linger_s
        for connection in list(self.connections):
            connection.retire(linger_s)

    def cut(self) -> None:
        """Abort what is still open."""
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self.tasks):
            task.cancel()

    async def wait_empty(self, timeout_s: float) -> bool:
        """Wait until no connection and no request is left; return False if some are after `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.connections or self.tasks:
                    self._emptied.clear()
                    await self._emptied.wait()
                return True
        return False


class _Open(set[T]):
    """A set that tells when it has become empty."""

    def __init__(self, emptied: asyncio.Event) -> None:
        super().__init__()
        self._emptied = emptied

    def discard(self, element: object) -> None:
        super().discard(element)
        if not self:
            self._emptied.set()

    def remove(self, element: T) -> None:
        self.discard(element)


def _has_unread(transport: asyncio.Transport) -> bool:
    """Tell whether the kernel holds bytes of the client; closing now would answer them with a reset."""
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.FIONREAD, bytes(4))
    except OSError:
        return False
    return bool(struct.unpack("i", answer)[0])
