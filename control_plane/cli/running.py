"""Finds the launch that a command is about: its runtime folder, and its control plane."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from contracts.errors import ConfigError, ControlError, did_you_mean
from control_plane.config.discovery import find_config
from control_plane.runtime.paths import RuntimeDir

if TYPE_CHECKING:
    from control_plane.cli.client import ControlClient


def runtime_dir(args: argparse.Namespace) -> RuntimeDir:
    """Return the runtime folder; nothing is created.

    With CTL_HOME set, and no file named, no configuration is needed to find it.

    Raises:
        ConfigError: there is no configuration file to find it by (E1006).
    """
    try:
        project = find_config(args.config, environ=os.environ, cwd=Path.cwd()).parent
    except ConfigError:
        if args.config or not os.environ.get("CTL_HOME"):
            raise
        project = Path.cwd()
    return RuntimeDir.locate(project, os.environ)


def control_client(args: argparse.Namespace) -> ControlClient:
    """Return a client of the control plane of this folder."""
    from control_plane.cli.client import ControlClient

    runtime = runtime_dir(args)
    return ControlClient(runtime.control_socket, home=runtime.home)


def component_path(name: str, action: str) -> str:
    """Return the target of a request to a component."""
    return f"/v1/components/{quote(name, safe='')}/{action}"


def choose(components: list[dict[str, Any]], names: list[str]) -> list[dict[str, Any]]:
    """Return the components that were named, by an alias too; all where none was.

    Raises:
        ControlError: one is not known (E3002).
    """
    known = {alias: component for component in components for alias in component.get("aliases", ())}
    known |= {component["name"]: component for component in components}
    for name in names:
        if name not in known:
            raise ControlError(
                f"unknown component '{name}'",
                why=did_you_mean(name, known),
                fix='Run "ctl status"',
                code="E3002",
            )
    named = {known[name]["name"] for name in names}
    return [component for component in components if not names or component["name"] in named]
