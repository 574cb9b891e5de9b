"""Where a program prints: straight into its log file, or through us where a line of it is awaited.

The straight way needs nobody: no pipe fills up while an event loop is busy. A program that writes otherwise
to a terminal is given one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re

READ_BYTES = 1 << 16
# What is longer is looked through in pieces.
MAX_LINE_BYTES = 1 << 16
LAST_LINE_BYTES = 400


class Console:
    """One program's output; `said` is set once the awaited line was there, or none is awaited."""

    def __init__(self, fd: int, *, source: int | None, file: int, awaited: str) -> None:
        self.fd = fd
        self.said = asyncio.Event()
        self._source = source
        self._file = file
        self._awaited = re.compile(awaited.encode()) if awaited else None
        self._partial = b""
        if self._awaited is None:
            self.said.set()

    @classmethod
    def open(cls, output: int, *, pty: bool, awaited: str) -> Console:
        """Return a console that ends in the file `output`, whose descriptor stays the caller's."""
        if not pty and not awaited:
            return cls(output, source=None, file=os.dup(output), awaited="")
        source, fd = os.openpty() if pty else os.pipe()
        return cls(fd, source=source, file=os.dup(output), awaited=awaited)

    def begin(self) -> None:
        """Read from here on; the program has its end, and ours of it is closed."""
        if self._source is not None:
            os.close(self.fd)
            os.set_blocking(self._source, False)
            asyncio.get_running_loop().add_reader(self._source, self._read)

    def abandon(self) -> None:
        """Close everything before the program has begun."""
        if self._source is not None:
            os.close(self.fd)
        self._end()
        os.close(self._file)

    def close(self) -> str:
        """Take what is left, stop reading, and return the last line that was printed."""
        while self._source is not None and self._read():
            pass
        self._end()
        last = self._last_line()
        os.close(self._file)
        return last

    def _read(self) -> bool:
        assert self._source is not None
        try:
            data = os.read(self._source, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # how a terminal says that nobody writes any more
            data = b""
        if not data:
            self._end()
            return False
        with contextlib.suppress(OSError):  # a full disk costs lines, not the program
            os.write(self._file, data)
        self._look_at(data)
        return True

    def _look_at(self, data: bytes) -> None:
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._hear(line)
        if self._awaited and not self.said.is_set() and self._awaited.search(self._partial):
            self.said.set()  # a prompt has no end of line
        if len(self._partial) > MAX_LINE_BYTES:
            self._partial = b""

    def _hear(self, line: bytes) -> None:
        line = line.rstrip(b"\r")  # a terminal's line ends in both
        if self._awaited and self._awaited.search(line):
            self.said.set()

    def _end(self) -> None:
        if self._source is not None:
            asyncio.get_running_loop().remove_reader(self._source)
            os.close(self._source)
            self._source = None

    def _last_line(self) -> str:
        size = os.fstat(self._file).st_size
        end = os.pread(self._file, LAST_LINE_BYTES, max(0, size - LAST_LINE_BYTES)).decode(errors="replace")
        return next(filter(None, map(str.strip, reversed(end.split("\n")))), "")
