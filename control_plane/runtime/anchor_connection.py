"""One connection to the anchor: lines in, lines out, never blocking, bounded both ways."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

from control_plane.runtime.anchor_protocol import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    Lines,
    LineTooLong,
    Record,
    to_line,
)

READ_BYTES = 1 << 16


class Connection:
    """A peer of the anchor; `on_line` gets each line, `on_close` hears once that the peer is gone."""

    def __init__(
        self,
        peer: socket.socket,
        selector: selectors.BaseSelector,
        *,
        on_line: Callable[[Connection, bytes], None],
        on_close: Callable[[Connection], None],
    ) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._selector = selector
        self._on_line = on_line
        self._on_close = on_close
        self._lines = Lines(MAX_REQUEST_BYTES)
        self._unsent = bytearray()
        self._open = True
        selector.register(peer, selectors.EVENT_READ, self._ready)

    def send(self, message: Record) -> None:
        """Send a message; a peer that does not read what it is sent is dropped."""
        if self._open:
            self._unsent += to_line(message)
            self._write()

    def close(self) -> None:
        """Drop the peer."""
        if self._open:
            self._open = False
            self._selector.unregister(self._peer)
            self._peer.close()
            self._on_close(self)

    def read_to_the_end(self) -> None:
        """Take what a peer has sent that is dead by now."""
        while self._open and self._read():
            pass

    def release(self) -> None:
        """Close our copy after a fork. Not unregistered: the poller is the parent's too."""
        self._open = False
        self._peer.close()

    def _ready(self, events: int) -> None:
        if self._open and events & selectors.EVENT_WRITE:
            self._write()
        if self._open and events & selectors.EVENT_READ:
            self._read()

    def _read(self) -> bool:
        """Take what has come; tell whether there may be more."""
        try:
            data = self._peer.recv(READ_BYTES)
            lines = self._lines.feed(data)
        except BlockingIOError:
            return False
        except (OSError, LineTooLong):
            self.close()
            return False
        for line in lines:
            if self._open:  # a peer that is gone must not take control any more
                self._on_line(self, line)
        if not data:
            self.close()
        return bool(data)

    def _write(self) -> None:
        try:
            del self._unsent[: self._peer.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if len(self._unsent) > MAX_ANSWER_BYTES:
            self.close()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._selector.modify(self._peer, events, self._ready)
