"""Log lines that this process could not write: counted, so that its status can say so.

Whoever logs or prints does not hear of a full disk; whoever operates the backend must.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from typing import Any

from contracts.status import LogLoss


@dataclass
class Losses:
    """How many lines were lost, and why the last one was."""

    lines: int = 0
    reason: str = ""

    def add(self, exc: BaseException | None, *, lines: int = 1) -> None:
        """Count lines that were lost to an exception."""
        self.lines += lines
        self.reason = (isinstance(exc, OSError) and exc.strerror) or str(exc) or type(exc).__name__

    def so_far(self) -> LogLoss | None:
        """Return what a heartbeat says of it; None where nothing was lost."""
        return LogLoss(lines=self.lines, reason=self.reason) if self.lines else None

    def reset(self) -> None:
        """Begin anew, as a fork does whose losses are its parent's."""
        self.lines, self.reason = 0, ""


# One for the process, as its standard output is.
LOSSES = Losses()


class _Forgiving(io.FileIO):
    """A file that takes everything; what it cannot write is counted."""

    def write(self, data: Any) -> int:
        """Write all that can be written; return the length of all."""
        view = memoryview(data).cast("B")
        try:
            return super().write(view) or 0
        except OSError as exc:
            LOSSES.add(exc, lines=max(1, bytes(view).count(b"\n")))
            return len(view)


def forgive_output() -> None:
    """Let what is printed to a full disk be lost, instead of raising in whoever prints or flushes."""
    sys.stdout = _forgiving(1, sys.stdout)
    sys.stderr = _forgiving(2, sys.stderr)


def _forgiving(fd: int, stream: Any) -> Any:
    if isinstance(getattr(getattr(stream, "buffer", None), "raw", None), _Forgiving):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Forgiving(fd, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        # Who follows the file wants lines as they are printed, not blocks of 8 KiB.
        line_buffering=True,
    )
