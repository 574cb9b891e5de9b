"""FastAPI dependencies: how routes reach the component they belong to and its context.

They are coroutines although they wait for nothing, since FastAPI calls a plain function in a thread: name
them in `Depends(...)`, or await them.
"""

from __future__ import annotations

from typing import Any

from fastapi.requests import HTTPConnection

from contracts.component import ComponentContext
from contracts.state import SharedState


async def current_component(connection: HTTPConnection) -> Any:
    """Return the component whose route is being called."""
    return connection.app.state.component


async def current_context(connection: HTTPConnection) -> ComponentContext:
    """Return the context of the component whose route is being called."""
    return _context(connection)


async def shared_state(connection: HTTPConnection) -> SharedState:
    """Return the shared state."""
    return _context(connection).state


def _context(connection: HTTPConnection) -> ComponentContext:
    context: ComponentContext = connection.app.state.context
    return context
