"""Shows a launch line by line: one for each change, then the logs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TextIO

from contracts.errors import CoplaneError
from contracts.status import AppStatus, StopReport
from control_plane.cli.log_view import log_text
from control_plane.cli.reporters.outlet import Outlet
from control_plane.cli.show import Style, error_text
from control_plane.cli.status_view import Status, changes, replica_states, urls
from control_plane.cli.stop_view import stop_lines, verdict
from control_plane.logs import LogLine


class LineReporter:
    """Shows a launch in lines; each stream has a style of its own."""

    def __init__(self, out: TextIO, err: TextIO, *, style: Style) -> None:
        self._out = Outlet(out)
        self._err = Outlet(err)
        self._style = style
        self._states: dict[str, str] = {}
        self._today = datetime.now().astimezone().date()

    def starting(self, app: str, mode: str, reason: str) -> None:
        """Say what is launched."""
        self._err.say(f"launching {app} in {mode} mode ({reason})")

    def progress(self, status: AppStatus, elapsed_s: float) -> None:
        """Say which replicas changed their state."""
        self._tell_changes(status, f"{elapsed_s:7.2f} s  ")

    def component_failed(self, name: str, error: Mapping[str, Any]) -> None:
        """Say which component failed, and why."""
        self._err.say(f"{name} failed: {error_text(CoplaneError.from_dict(dict(error)))}")

    def ready(self, status: AppStatus, elapsed_s: float) -> None:
        """Say where the backend answers; what follows is written by threads."""
        tree = status.model_dump(mode="json")
        self._states = replica_states(tree)
        self._out.say(_ready_line(tree, elapsed_s))
        for warning in tree["warnings"]:
            self._err.say(f"warning: {self._style.harmless(warning)}")
        self._out.start()
        self._err.start()

    def restarting(self, reason: str) -> None:
        """Say why everything starts anew."""
        self._err.say(f"{reason}; starting anew")

    def log(self, line: LogLine) -> None:
        """Show a line of the logs."""
        self._out.log(log_text(line, self._style, today=self._today))

    def stopping(self, reason: str) -> None:
        """Say why everything drains."""
        self._err.say(f"stopping: {reason}; Ctrl+C again to force it")

    def stop_progress(self, status: AppStatus) -> None:
        """Say which replicas changed their state."""
        self._tell_changes(status, "")

    def stopped(self, report: StopReport) -> None:
        """Show the ledgers."""
        tree = report.model_dump(mode="json")
        if report.streams or report.forced:
            self._out.say("\n".join(stop_lines(tree, self._style)))
        if error := verdict(tree):
            self._err.say(error_text(error))
        self._out.close()
        self._err.close()

    def error(self, error: CoplaneError) -> None:
        """Say why the launch failed, also where it fails without a stop."""
        self._err.say(error_text(error))
        self._out.close()
        self._err.close()

    def _tell_changes(self, status: AppStatus, prefix: str) -> None:
        tree = status.model_dump(mode="json")
        for change in changes(self._states, tree):
            self._err.say(prefix + change)
        self._states = replica_states(tree)


def _ready_line(status: Status, elapsed_s: float) -> str:
    failed = [component["name"] for component in status["components"] if component["state"] != "ready"]
    how = "is ready" if status["ready"] else f"is up without {', '.join(failed)}"
    return f"{status['app']} {how} after {elapsed_s:.2f} s: {urls(status)}"
