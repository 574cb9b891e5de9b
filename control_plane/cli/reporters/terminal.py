"""Shows a launch on a terminal: a table drawn again at every change, then what `LineReporter` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from contracts.errors import CoplaneError
from contracts.status import AppStatus, ReplicaState, StopReport
from control_plane.cli.reporters.lines import LineReporter
from control_plane.cli.show import Cell, Style, table
from control_plane.cli.status_view import state_cell
from control_plane.logs import LogLine

_HEADERS = ("COMPONENT", "REPLICA", "STATE", "PID", "READY AFTER", "")


class TerminalReporter:
    """Draws the table on stderr."""

    def __init__(self, out: TextIO, err: TextIO, *, style: Style) -> None:
        self._lines = LineReporter(out, err, style=style)
        self._style = style
        # Drawn when something changes, and by no thread or timer of its own.
        self._console = Console(file=err, highlight=False)
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._ready_after_s: dict[str, float] = {}
        self._restarts = False

    def starting(self, app: str, mode: str, reason: str) -> None:
        """Say what is launched."""
        self._lines.starting(app, mode, reason)

    def progress(self, status: AppStatus, elapsed_s: float) -> None:
        """Draw the table."""
        if self._restarts:
            self._lines.progress(status, elapsed_s)
            return
        for component in status.components:
            for replica in component.replicas:
                if replica.state is ReplicaState.READY:
                    self._ready_after_s.setdefault(replica.id, elapsed_s)
        if not self._live.is_started:
            self._live.start()
        self._live.update(Text.from_ansi("\n".join(self._table(status))), refresh=True)

    def component_failed(self, name: str, error: Mapping[str, Any]) -> None:
        """Say above the table which component failed, and why."""
        self._live.stop()
        self._lines.component_failed(name, error)

    def ready(self, status: AppStatus, elapsed_s: float) -> None:
        """Leave the table as it is, and say where the backend answers."""
        self._live.stop()
        self._lines.ready(status, elapsed_s)

    def restarting(self, reason: str) -> None:
        """Say why everything starts anew; in lines: a table would wait for a terminal that is paused."""
        self._live.stop()
        self._restarts = True
        self._lines.restarting(reason)

    def log(self, line: LogLine) -> None:
        """Show a line of the logs."""
        self._lines.log(line)

    def stopping(self, reason: str) -> None:
        """Say why everything drains."""
        self._live.stop()
        self._lines.stopping(reason)

    def stop_progress(self, status: AppStatus) -> None:
        """Say which replicas changed their state."""
        self._lines.stop_progress(status)

    def stopped(self, report: StopReport) -> None:
        """Show the ledgers."""
        self._lines.stopped(report)

    def error(self, error: CoplaneError) -> None:
        """Say why the launch failed."""
        self._live.stop()
        self._lines.error(error)

    def _table(self, status: AppStatus) -> list[str]:
        rows = [
            [
                Cell(component.name if number == 0 else ""),
                Cell(replica.id),
                state_cell(replica.state),
                Cell(str(replica.pid or "-"), right=True),
                Cell(_seconds(self._ready_after_s.get(replica.id)), right=True),
                Cell(replica.reason or "" if replica.state is ReplicaState.PENDING else ""),
            ]
            for component in status.components
            for number, replica in enumerate(component.replicas)
        ]
        return table(_HEADERS, rows, self._style)


def _seconds(value_s: float | None) -> str:
    return "" if value_s is None else f"{value_s:.2f} s"
