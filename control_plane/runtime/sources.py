"""Which source files an image was made from, and whether they are still the same.

A host that is forked runs the code that was imported once. Whoever changes a file and restarts the
component means the file: such a host is made as a new interpreter.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_INSTALLED = {"site-packages", "dist-packages"}


# File systems stamp with the clock of the kernel's last tick.
_TICK_NS = 10_000_000


class Sources:
    """The files of the modules that a process has imported from a folder, as they were then."""

    def __init__(self, project: Path, *, read_since_ns: int) -> None:
        """Look at the files; one that was written after `read_since_ns` may have been read before that.

        Args:
            read_since_ns: when the first of them was imported, in nanoseconds since 1970.
        """
        limit_ns = read_since_ns - _TICK_NS
        stamps = {path: _stamp(path) for path in modules_of(project).values()}
        self._stamps = {
            path: None if stamp is None or stamp[0] > limit_ns else stamp for path, stamp in stamps.items()
        }

    def changed(self) -> str:
        """Return a file that is another by now, or an empty text."""
        return next((path for path, stamp in self._stamps.items() if _stamp(path) != stamp), "")


def modules_of(project: Path) -> dict[str, str]:
    """Return the files of the project's own modules by name; what is installed does not change under us."""
    found = {}
    for name, module in tuple(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith(f"{project}{os.sep}") and not _INSTALLED & set(path.split(os.sep)):
            found[name] = path
    return found


def _stamp(path: str) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        info = os.stat(path)
        return info.st_mtime_ns, info.st_size
    return None
