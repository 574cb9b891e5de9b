"""Reads one HTTP answer from a socket, whole or line by line, as it comes in.

httptools parses it, as in the servers; http.client would parse it too, but loads e-mail and TLS, a third of
the time that a command takes.
"""

from __future__ import annotations

import socket

from httptools import HttpParserError, HttpResponseParser

_READ_BYTES = 65_536


class BrokenAnswer(Exception):
    """What came is no HTTP answer, or not all of one."""


class Answer:
    """An answer of which the head has come; waiting for more of it is bound by the socket's timeout.

    Args:
        connection: a socket on which a request was sent.

    Raises:
        BrokenAnswer: what came is no answer, or broke off; so does whatever reads.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._parser = HttpResponseParser(self)
        self._body = bytearray()
        self._begun = False
        self._in_chunk = False
        self._complete = False
        while not self._begun:
            self._receive()
        self.status = self._parser.get_status_code()

    def read(self) -> bytes:
        """Return the rest of the body."""
        while not self._complete:
            self._receive()
        return self._taken(len(self._body))

    def readline(self) -> bytes:
        """Return the next line with its end; nothing after the last one.

        A stream also ends with its connection, if between two chunks: a control plane that stops closes it.
        """
        searched = 0
        while (end := self._body.find(b"\n", searched)) < 0 and not self._complete:
            searched = len(self._body)
            self._receive(may_end=not self._in_chunk)
        return self._taken(end + 1 if end >= 0 else len(self._body))

    def on_headers_complete(self) -> None:
        """Note that the head has come: the parser calls this, and those below."""
        self._begun = True

    def on_chunk_header(self) -> None:
        """Note that a chunk begins."""
        self._in_chunk = True

    def on_chunk_complete(self) -> None:
        """Note that a chunk is whole."""
        self._in_chunk = False

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Note that nothing more comes."""
        self._complete = True

    def _receive(self, *, may_end: bool = False) -> None:
        received = self._connection.recv(_READ_BYTES)
        if not received and may_end:
            self._complete = True
            return
        if not received:
            raise BrokenAnswer("its answer broke off" if self._begun else "it closed without an answer")
        try:
            self._parser.feed_data(received)
        except HttpParserError as exc:
            raise BrokenAnswer(f"what it answered is no HTTP: {exc}") from exc

    def _taken(self, length_bytes: int) -> bytes:
        taken = bytes(self._body[:length_bytes])
        del self._body[:length_bytes]
        return taken
