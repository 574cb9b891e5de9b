"""FastAPI dependencies: how routes reach the component they belong to and its context."""

from __future__ import annotations

from typing import Any

from fastapi.requests import HTTPConnection

from contracts.component import ComponentContext
from contracts.state import SharedState


def current_component(connection: HTTPConnection) -> Any:
    """Return the component whose route is being called."""
    return connection.app.state.component


def current_context(connection: HTTPConnection) -> ComponentContext:
    """Return the context of the component whose route is being called."""
    context: ComponentContext = connection.app.state.context
    return context


def shared_state(connection: HTTPConnection) -> SharedState:
    """Return the shared state."""
    return current_context(connection).state
