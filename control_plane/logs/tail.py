"""Reads one log file and its rotated generations (`x.log.2`, `x.log.1`, `x.log`), oldest first.

Each call gives what is new since the last one. A file stays open between calls, so that what was
written to it up to the moment of its rotation is still read; memory is bounded by one line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from control_plane.logs.line import LogLine, parse

CHUNK_BYTES = 65_536
MAX_LINE_BYTES = 1_048_576


def label_of(path: Path) -> str:
    """Return whose log this is: `writer-1` for `writer-1.log` and for `writer-1.out.log`."""
    return path.name.removesuffix(".log").removesuffix(".out")


class LineSplitter:
    """Makes lines of chunks; a line longer than `MAX_LINE_BYTES` is cut, and says so."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._cut_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give every line that the chunk completes."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            self._hold(piece)
            yield self._take()
        self._hold(rest)

    def rest(self) -> Iterator[bytes]:
        """Give the line that has not ended, if there is one."""
        if self._held:
            yield self._take()

    def _hold(self, piece: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._held)
        self._held += piece[:room]
        self._cut_bytes += max(0, len(piece) - room)

    def _take(self) -> bytes:
        line = bytes(self._held)
        if self._cut_bytes:
            line += f"… ({self._cut_bytes} more bytes)".encode()
        self._held.clear()
        self._cut_bytes = 0
        return line


class Tail:
    """A log file being read; `since` leaves out generations that were last written before it."""

    def __init__(self, path: Path, *, since: datetime | None = None) -> None:
        self.path = path
        self.label = label_of(path)
        self._since = since
        self._file: BinaryIO | None = None
        self._splitter = LineSplitter()

    def skip_to_end(self) -> None:
        """Leave out what is there already."""
        self._file = _open(self.path)
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def lines(self) -> Iterator[LogLine]:
        """Give the lines that were completed since the last call."""
        if self._file is not None:
            yield from self._read(self._file)
        for newer in self._open_newer():
            if self._file is not None:
                yield from self._read(self._file)
                yield from self.rest()
                self._file.close()
            self._file = newer
            yield from self._read(newer)

    def rest(self) -> Iterator[LogLine]:
        """Give the last line where it has no end, because its writer died or is still writing."""
        if self._file is not None:
            written_at = _written_at(self._file)
            for line in self._splitter.rest():
                yield parse(line, label=self.label, raw_at=written_at)

    def _read(self, file: BinaryIO) -> Iterator[LogLine]:
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)  # truncated in place, as `: > x.log` does
        raw_at = _written_at(file)
        while chunk := file.read(CHUNK_BYTES):
            for line in self._splitter.feed(chunk):
                parsed = parse(line, label=self.label, raw_at=raw_at)
                raw_at = parsed.at  # a raw line after a record happened no earlier than it
                if line:
                    yield parsed

    def _open_newer(self) -> list[BinaryIO]:
        """Open the generations after the present one, oldest first."""
        present = os.fstat(self._file.fileno()).st_ino if self._file else None
        newer: dict[int, BinaryIO] = {}
        for path in self._generations():
            file = _open(path)
            if file is None:
                continue
            status = os.fstat(file.fileno())
            if status.st_ino == present or self._is_too_old(status.st_mtime):
                file.close()
                break
            # Newest first: a rotation in between shows one file twice, and hides none.
            if status.st_ino in newer:
                file.close()
            else:
                newer[status.st_ino] = file
        return list(reversed(newer.values()))

    def _generations(self) -> list[Path]:
        rotated = [path for path in self.path.parent.glob(f"{self.path.name}.*") if path.suffix[1:].isdigit()]
        return [self.path, *sorted(rotated, key=lambda path: int(path.suffix[1:]))]

    def _is_too_old(self, modified_s: float) -> bool:
        return self._since is not None and modified_s < self._since.timestamp()


def _open(path: Path) -> BinaryIO | None:
    try:
        return open(path, "rb")
    except FileNotFoundError:
        return None


def _written_at(file: BinaryIO) -> datetime:
    return datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
