"""Writes text to a stream without ever making the backend wait for whoever reads it.

Until `start`, and after `close`, text is written at once. In between a thread writes it: a terminal that
was paused with Ctrl+S, or a full pipe, must not pause a backend that shares its process with us. Log
lines that a reader is too slow for are left out and counted; everything else is written.
A reader that went away is not missed.
"""

from __future__ import annotations

import queue
import threading
from typing import TextIO

MAX_WAITING_LINES = 2_000
CLOSE_TIMEOUT_S = 2.0


class Outlet:
    """One stream's writer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._left_out = 0
        self._gone = False

    def start(self) -> None:
        """Write from a thread from now on. Not before a launch has forked what it forks."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._write_all, name="outlet", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Write a line."""
        if self._thread is None:
            self._write(text)
        else:
            self._waiting.put(text)

    def log(self, text: str) -> None:
        """Write a line, unless too many wait already."""
        if self._waiting.qsize() >= MAX_WAITING_LINES:
            self._left_out += 1
            return
        if self._left_out:
            self.say(f"… {self._left_out} log lines left out: their reader is slow")
            self._left_out = 0
        self.say(text)

    def close(self) -> None:
        """Write what waits, for as long as `CLOSE_TIMEOUT_S`."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(CLOSE_TIMEOUT_S)
            self._gone = self._gone or self._thread.is_alive()
            self._thread = None

    def _write_all(self) -> None:
        while (text := self._waiting.get()) is not None:
            self._write(text)

    def _write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._stream.write(f"{text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True
