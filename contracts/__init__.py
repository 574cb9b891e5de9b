"""What crosses a boundary: protocols, message models, specs, status, error codes.

Names load on first use, so that importing one light module (errors) does not load pydantic or FastAPI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contracts.component import (
        AsgiApp,
        CallResponse,
        Component,
        ComponentContext,
        Directory,
        Endpoint,
        ServesAsgi,
    )
    from contracts.dependencies import current_component, current_context, shared_state
    from contracts.errors import (
        BusError,
        ComponentError,
        ConfigError,
        ControlError,
        CoplaneError,
        LaunchError,
    )
    from contracts.state import Change, Lease, LeaseLost, SharedState

__all__ = [
    "AsgiApp",
    "BusError",
    "CallResponse",
    "Change",
    "Component",
    "ComponentContext",
    "ComponentError",
    "ConfigError",
    "ControlError",
    "CoplaneError",
    "Directory",
    "Endpoint",
    "LaunchError",
    "Lease",
    "LeaseLost",
    "ServesAsgi",
    "SharedState",
    "current_component",
    "current_context",
    "shared_state",
]

_HOMES = {
    "component": (
        "AsgiApp",
        "CallResponse",
        "Component",
        "ComponentContext",
        "Directory",
        "Endpoint",
        "ServesAsgi",
    ),
    "dependencies": ("current_component", "current_context", "shared_state"),
    "errors": ("BusError", "ComponentError", "ConfigError", "ControlError", "CoplaneError", "LaunchError"),
    "state": ("Change", "Lease", "LeaseLost", "SharedState"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"contracts.{_HOME_OF[name]}"), name)
