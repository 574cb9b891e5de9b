"""Reads every log of a runtime folder, merged by time, and follows them as they grow.

A raw line carries no time: it counts as written when the record before it was, else when its file was.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator
from contextlib import ExitStack, aclosing
from datetime import datetime
from pathlib import Path

from control_plane.logs.folder_watch import changes
from control_plane.logs.line import LogLine, component_of
from control_plane.logs.tail import Tail, label_of

# What nobody looks for who does not name it: a detached launch's own output, and the embedded server's.
UNASKED_LABELS = frozenset({"launch", "valkey"})
LINES_AT_ONCE = 200


class LogReader:
    """The logs below a folder.

    Args:
        folder: where the log files are.
        names: components, replicas or labels of files; all where it is empty.
        since: leave out what is older.
    """

    def __init__(self, folder: Path, *, names: Collection[str] = (), since: datetime | None = None) -> None:
        self._folder = folder
        self._names = frozenset(names)
        self._since = since

    def labels(self) -> list[str]:
        """Return whose logs there are."""
        return sorted({label_of(path) for path in self._folder.glob("*.log")})

    def read(self) -> Iterator[LogLine]:
        """Iterate over what is there, in order of time."""
        with ExitStack() as cleanup:
            tails = [Tail(path, since=self._since) for path in self._paths()]
            for tail in tails:
                cleanup.callback(tail.close)
            yield from filter(self._is_recent, _merged([_to_the_end(tail) for tail in tails]))

    async def follow(self, *, history: bool = False) -> AsyncGenerator[LogLine, None]:
        """Iterate over what is written from now on, for ever; with `history`, over what is there first."""
        tails: dict[Path, Tail] = {}
        skip = not history
        try:
            async with aclosing(changes(self._folder)) as looks:
                async for _ in looks:
                    self._add_new(tails, skip=skip)
                    skip = False
                    async for line in gently(_merged([tail.lines() for tail in tails.values()])):
                        if self._is_recent(line):
                            yield line
        finally:
            for tail in tails.values():
                tail.close()

    def _add_new(self, tails: dict[Path, Tail], *, skip: bool) -> None:
        for path in self._paths():
            if path not in tails:
                tails[path] = Tail(path, since=self._since)
                if skip:
                    tails[path].skip_to_end()

    def _paths(self) -> list[Path]:
        found = (path for path in self._folder.glob("*.log") if self._is_asked_for(label_of(path)))
        return sorted(path for path in found if path.is_file())  # a pipe or a device may have no end

    def _is_asked_for(self, label: str) -> bool:
        if not self._names:
            return label not in UNASKED_LABELS
        return label in self._names or component_of(label) in self._names

    def _is_recent(self, line: LogLine) -> bool:
        return self._since is None or line.at >= self._since


async def gently(lines: Iterable[LogLine]) -> AsyncGenerator[LogLine, None]:
    """Iterate over lines that are read from files, and let the event loop work in between."""
    for number, line in enumerate(lines):
        yield line
        if number % LINES_AT_ONCE == 0:
            await asyncio.sleep(0)


def _merged(sources: list[Iterator[LogLine]]) -> Iterator[LogLine]:
    return heapq.merge(*sources, key=lambda line: line.at)


def _to_the_end(tail: Tail) -> Iterator[LogLine]:
    yield from tail.lines()
    yield from tail.rest()
