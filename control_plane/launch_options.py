"""What `ctl launch` asks for, and whom a launch tells of its progress.

Standard library only, so that the command line can build them without loading what a launch loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contracts.errors import CoplaneError
    from contracts.status import AppStatus, StopReport
    from control_plane.logs import LogLine


@dataclass(frozen=True)
class LaunchOptions:
    """The command line of `ctl launch`.

    Attributes:
        names: components to launch, with what they depend on; all where it is empty.
        mode: overrides the configured mode.
        profile: the profile whose components to launch.
        only: like `names`, from `--only`.
        exclude: components to leave out.
        config: the configuration file; searched for where it is None.
        timeout_s: how long the launch may take to get ready.
        follow_logs: hand log lines to the reporter once the launch is ready.
    """

    names: tuple[str, ...] = ()
    mode: str | None = None
    profile: str | None = None
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    config: Path | None = None
    timeout_s: float = 60.0
    follow_logs: bool = True


class LaunchReporter(Protocol):
    """Shows a launch to whoever started it. No call may raise, or block once the launch is ready."""

    def starting(self, app: str, mode: str, reason: str) -> None:
        """Tell what is launched, in which mode and why in that one."""
        ...

    def progress(self, status: AppStatus, elapsed_s: float) -> None:
        """Tell of a change before the launch is settled."""
        ...

    def component_failed(self, name: str, error: Mapping[str, Any]) -> None:
        """Tell of a component that failed but does not fail the launch."""
        ...

    def ready(self, status: AppStatus, elapsed_s: float) -> None:
        """Tell that every component is ready or has failed."""
        ...

    def restarting(self, reason: str) -> None:
        """Tell that everything starts anew by itself, and why; `progress` and `ready` follow."""
        ...

    def log(self, line: LogLine) -> None:
        """Show a line of the logs."""
        ...

    def stopping(self, reason: str) -> None:
        """Tell that everything drains now, and why."""
        ...

    def stop_progress(self, status: AppStatus) -> None:
        """Tell of a change before everything is stopped."""
        ...

    def stopped(self, report: StopReport) -> None:
        """Tell what the stop came to."""
        ...

    def error(self, error: CoplaneError) -> None:
        """Tell why the launch failed."""
        ...
