"""Shows a launch that runs in the background to the `ctl launch --detach` that started it.

Until it is ready or has failed it goes to the pipe as JSON lines, and to the launch's own log as well;
after that to the log alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, TextIO

from contracts.errors import CoplaneError
from contracts.status import AppStatus, StopReport
from control_plane.cli.reporters.json_lines import JsonReporter
from control_plane.cli.reporters.lines import LineReporter
from control_plane.cli.show import Style
from control_plane.logs import LogLine


class RelayedReporter:
    """Writes to a pipe whose other end may go away, and to the log."""

    def __init__(self, pipe_fd: int, log: TextIO) -> None:
        os.set_inheritable(pipe_fd, False)
        self._pipe = os.fdopen(pipe_fd, "w", encoding="utf-8")
        self._relay = JsonReporter(self._pipe)
        self._lines = LineReporter(log, log, style=Style(colour=False))

    def starting(self, app: str, mode: str, reason: str) -> None:
        """Tell both."""
        self._relay.starting(app, mode, reason)
        self._lines.starting(app, mode, reason)

    def progress(self, status: AppStatus, elapsed_s: float) -> None:
        """Tell both."""
        self._relay.progress(status, elapsed_s)
        self._lines.progress(status, elapsed_s)

    def component_failed(self, name: str, error: Mapping[str, Any]) -> None:
        """Tell both."""
        self._relay.component_failed(name, error)
        self._lines.component_failed(name, error)

    def ready(self, status: AppStatus, elapsed_s: float) -> None:
        """Tell both; from now on nobody is at the other end."""
        self._relay.ready(status, elapsed_s)
        self._close_pipe()
        self._lines.ready(status, elapsed_s)

    def restarting(self, reason: str) -> None:
        """Tell both."""
        self._relay.restarting(reason)
        self._lines.restarting(reason)

    def log(self, line: LogLine) -> None:
        """Show nothing: the line stands in a log already."""

    def stopping(self, reason: str) -> None:
        """Tell the log."""
        self._lines.stopping(reason)

    def stop_progress(self, status: AppStatus) -> None:
        """Tell the log."""
        self._lines.stop_progress(status)

    def stopped(self, report: StopReport) -> None:
        """Tell the log."""
        self._lines.stopped(report)

    def error(self, error: CoplaneError) -> None:
        """Tell both."""
        self._relay.error(error)
        self._close_pipe()
        self._lines.error(error)

    def _close_pipe(self) -> None:
        self._relay.close()
        with contextlib.suppress(OSError):
            self._pipe.close()
