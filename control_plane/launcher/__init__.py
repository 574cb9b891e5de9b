"""Launches a backend: the composition root, and one launch from its first host to its last.

`run_launch` loads on first use: `ctl launch --dry-run` needs the choice of components only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from control_plane.launcher.root import run_launch

__all__ = ["run_launch"]


def __getattr__(name: str) -> Any:
    if name != "run_launch":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from control_plane.launcher.root import run_launch

    return run_launch
