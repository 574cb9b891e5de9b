"""What comes back for one request that went to a replica behind a socket, parsed by httptools.

The head comes first, then the body in pieces. Nobody need read as fast as it comes: beyond a window the
connection is held up, and with it whoever sends.
"""

from __future__ import annotations

import asyncio

import httptools

from components.gateway.headers import Header

HEAD_MAX_BYTES = 1 << 18
WINDOW_BYTES = 1 << 16

_CONTINUE = 100
_FINAL = 200
_TELL_THE_LENGTH = frozenset({b"content-length", b"transfer-encoding"})


class NotHttp(ConnectionError):
    """What came back is no answer."""


class Answer:
    """One answer, from before its first byte to after its last; the parser calls `on_...`."""

    def __init__(self, transport: asyncio.Transport, *, to_head: bool) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.touched = False
        self.begun = False
        self.complete = False
        self._transport = transport
        self._to_head = to_head
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._pieces: list[bytes] = []
        self._unread_bytes = 0
        self._held_up = False
        self._keep_alive = False
        self._error: ConnectionError | TimeoutError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._go_on = asyncio.Event()

    # For whoever asked.

    async def begin(self) -> None:
        """Wait for the status and the headers.

        Raises:
            NotHttp: something else came.
            ConnectionError: the connection ended before.
            TimeoutError: it was given up.
        """
        while not self.begun:
            await self._wait()

    async def read(self) -> bytes:
        """Return what came of the body, waiting for some; it was the last when `complete` is set.

        Raises:
            ConnectionError: the body broke off.
        """
        while not self._pieces and not self.complete:
            await self._wait()
        pieces, self._pieces, self._unread_bytes = self._pieces, [], 0
        if self._held_up:
            self._held_up = False
            self._transport.resume_reading()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def wants_body(self) -> bool:
        """Wait for `100 Continue`; return False where the answer, or the end, came without it."""
        await self._go_on.wait()
        return not self.begun and self._error is None

    def give_up(self, error: ConnectionError | TimeoutError) -> None:
        """Raise the error for whoever waits for what has not come; a head that is here is not late."""
        if self._error is None and not (self.begun and isinstance(error, TimeoutError)):
            self._error = error
        self._go_on.set()
        self._wake()

    async def _wait(self) -> None:
        if self._error is not None:
            raise type(self._error)(*self._error.args)  # a new one: its traceback would lead back here
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # For the connection.

    def feed(self, data: bytes) -> None:
        """Take in what came."""
        if self._parser is None or self._error is not None:
            return
        self.touched = True
        if not self.begun:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._keep_alive = False
            self.give_up(NotHttp(str(exc)))
        if not self.begun and self._head_bytes > HEAD_MAX_BYTES:
            self.give_up(NotHttp(f"its head is longer than {HEAD_MAX_BYTES} bytes"))
        self._wake()

    def end(self) -> None:
        """Take note that the replica sends no more: of a body without a length, that is the end."""
        if self.begun and _TELL_THE_LENGTH.isdisjoint(name for name, _ in self.headers):
            self.complete = True
        self.give_up(ConnectionError("the connection ended before the answer did"))

    def close(self) -> bool:
        """Take in no more; tell whether the connection is fit for another answer."""
        self._parser = None  # else it and this object would keep each other in memory
        return self._keep_alive and not self._pieces

    # For the parser.

    def on_message_begin(self) -> None:
        if self.complete:
            raise NotHttp("nobody asked for another answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.begun:  # else it is a trailer
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self.status = status
            self.begun = True
            # Whether bytes of a body follow by mistake is never known: its connection is not used again.
            self.complete = self._to_head
        else:
            self.headers.clear()
        if status >= _FINAL or status == _CONTINUE:
            self._go_on.set()

    def on_body(self, piece: bytes) -> None:
        if self.complete:
            return
        self._pieces.append(piece)
        self._unread_bytes += len(piece)
        if self._unread_bytes > WINDOW_BYTES and not self._held_up:
            self._held_up = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self.begun and not self.complete:  # one of 1xx is followed by the one that counts
            self.complete = True
            self._keep_alive = self._parser.should_keep_alive()
