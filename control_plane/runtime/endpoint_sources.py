"""Tells FastAPI where its endpoints are written, which it looks for otherwise.

At the first request of an endpoint it reads and tokenizes the endpoint's source, for the message of an error:
3 ms, more in a host that was just forked, and it goes through all modules meanwhile. What it wants to know
the compiled code says as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import islice
from typing import Any

from fastapi import routing
from fastapi.exceptions import EndpointContext

from control_plane.runtime.declared_routes import MAX_ROUTES, routes_of

# FastAPI's own, by the id of the endpoint. Without it, an endpoint is looked for as ever.
_CACHE = "_endpoint_context_cache"


def note_sources(app: Any) -> None:
    """Note where each endpoint of an application is, if it is one of FastAPI's."""
    known: dict[int, EndpointContext] = getattr(routing, _CACHE, {})
    for _, route in islice(routes_of(app), MAX_ROUTES):
        if isinstance(route.original_route, routing.APIRoute | routing.APIWebSocketRoute):
            endpoint = route.original_route.dependant.call
            known.pop(id(endpoint), None)  # of one that has gone, and had the same id
            if endpoint is not None and (source := _source(endpoint)):
                known[id(endpoint)] = source


def _source(endpoint: Callable[..., Any]) -> EndpointContext | None:
    code = getattr(inspect.unwrap(endpoint), "__code__", None)
    name = getattr(endpoint, "__name__", None)
    if code is None or name is None:
        return None
    return {"file": code.co_filename, "line": code.co_firstlineno, "function": name}
