"""Which source files an image was made from, and whether they are still the same.

A host that is forked runs the code that was imported once. Whoever changes a file and restarts the
component means the file: such a host is made as a new interpreter.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}


# File systems stamp with the clock of the kernel's last tick.
_TICK_NS = 10_000_000


class Sources:
    """The files of modules that a process has imported from a folder, as they were then.

    Args:
        read_since_ns: when the first of them was imported, in nanoseconds since 1970; a file that was written
            after that may have been read before.
    """

    def __init__(self, project: Path, *, read_since_ns: int) -> None:
        self._project = project
        self._limit_ns = read_since_ns - _TICK_NS
        self._stamps: dict[str, tuple[int, int] | None] = {}

    def add(self, names: Iterable[str]) -> None:
        """Look at the files of these modules, where they are imported and the project's own."""
        for path in own_files(self._project, names).values():
            stamp = _stamp(path)
            self._stamps[path] = None if stamp is None or stamp[0] > self._limit_ns else stamp

    def changed(self) -> str:
        """Return a file that is another by now, or an empty text."""
        return next((path for path, stamp in self._stamps.items() if _stamp(path) != stamp), "")


def own_files(project: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the files of those modules that are the project's own; what is installed stays as it is."""
    found = {}
    for name in names:
        path = getattr(sys.modules.get(name), "__file__", None) or ""
        if path.startswith(f"{project}{os.sep}") and not _INSTALLED & set(path.split(os.sep)):
            found[name] = path
    return found


def _stamp(path: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        info = os.stat(path)
        return info.st_mtime_ns, info.st_size
    return None
