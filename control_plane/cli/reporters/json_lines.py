"""Shows a launch as JSON: one object a line, whose `event` says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TextIO

from contracts.errors import CoplaneError
from contracts.status import AppStatus, StopReport
from control_plane.cli.reporters.outlet import Outlet
from control_plane.logs import LogLine


class JsonReporter:
    """Writes every event to one stream."""

    def __init__(self, out: TextIO) -> None:
        self._out = Outlet(out)

    def starting(self, app: str, mode: str, reason: str) -> None:
        """Tell what is launched."""
        self._out.say(_line("starting", app=app, mode=mode, reason=reason))

    def progress(self, status: AppStatus, elapsed_s: float) -> None:
        """Tell of a change."""
        self._out.say(_line("progress", elapsed_s=round(elapsed_s, 3), status=status.model_dump(mode="json")))

    def component_failed(self, name: str, error: Mapping[str, Any]) -> None:
        """Tell of a component that failed."""
        self._out.say(_line("component_failed", component=name, error=dict(error)))

    def ready(self, status: AppStatus, elapsed_s: float) -> None:
        """Tell that the launch is settled; what follows is written by a thread."""
        self._out.say(_line("ready", elapsed_s=round(elapsed_s, 3), status=status.model_dump(mode="json")))
        self._out.start()

    def restarting(self, reason: str) -> None:
        """Tell that everything starts anew."""
        self._out.say(_line("restarting", reason=reason))

    def log(self, line: LogLine) -> None:
        """Show a line of the logs."""
        self._out.log(_line("log", line=line.as_dict()))

    def stopping(self, reason: str) -> None:
        """Tell that everything drains."""
        self._out.say(_line("stopping", reason=reason))

    def stop_progress(self, status: AppStatus) -> None:
        """Tell of a change."""
        self._out.say(_line("stop_progress", status=status.model_dump(mode="json")))

    def stopped(self, report: StopReport) -> None:
        """Tell what the stop came to."""
        self._out.say(_line("stopped", report=report.model_dump(mode="json")))
        self.close()

    def error(self, error: CoplaneError) -> None:
        """Tell why the launch failed."""
        self._out.say(_line("error", error=error.as_dict()))
        self.close()

    def close(self) -> None:
        """Write what waits."""
        self._out.close()


def _line(event: str, **members: Any) -> str:
    return json.dumps({"event": event, **members}, ensure_ascii=False, default=repr)
