"""What the options of `ctl launch` come to: settings, mode, and why that mode."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from contracts.specs import Mode, Settings
from control_plane.config import load, resolve_mode, select
from control_plane.config.legacy import as_before
from control_plane.launch_options import LaunchOptions
from control_plane.runtime.paths import RuntimeDir


@dataclass(frozen=True)
class Choice:
    """The settings of the components that take part, below the project's folder."""

    settings: Settings
    project: Path
    mode: Mode
    mode_reason: str


def choose(options: LaunchOptions) -> Choice:
    """Read the configuration and apply the options to it.

    Raises:
        ConfigError: the configuration, or the choice of components, is wrong.
    """
    overrides = {"app.mode": options.mode} if options.mode else {}
    loaded = load(options.config, overrides=overrides, environ=os.environ, cwd=Path.cwd())
    whole = loaded.settings
    legacy = whole.app.launcher == "legacy"
    settings = select(
        as_before(whole, loaded.project) if legacy else whole,
        names=options.names,
        profile=options.profile,
        only=options.only,
        exclude=options.exclude,
    )
    mode, reason = resolve_mode(
        settings.app.mode,
        is_tty=sys.stderr.isatty(),
        environ=os.environ,
        bus_url=settings.bus.url,
        compared=_last_comparison(loaded.project) if settings.app.mode is Mode.AUTO else None,
    )
    if legacy:  # each command is a process already, and they know of no bus
        mode, reason = Mode.SINGLE, "the legacy launcher"
    return Choice(settings, loaded.project, mode, reason)


def _last_comparison(project: Path) -> tuple[Mode, str] | None:
    from control_plane.comparison.last import last_comparison

    return last_comparison(RuntimeDir.locate(project, os.environ).home)
