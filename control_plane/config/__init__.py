"""Reads the configuration file into `Settings`.

Names load on first use, so that finding the file (`control_plane.config.discovery`) loads no pydantic.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from control_plane.config.discovery import find_config
    from control_plane.config.json_schema import schema
    from control_plane.config.loading import Loaded, load
    from control_plane.config.modes import resolve_mode
    from control_plane.config.selection import select

__all__ = ["Loaded", "find_config", "load", "resolve_mode", "schema", "select"]

_HOME_OF = {
    "Loaded": "loading",
    "find_config": "discovery",
    "load": "loading",
    "resolve_mode": "modes",
    "schema": "json_schema",
    "select": "selection",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
