"""What an application says that it answers, where it is one of Starlette's or FastAPI's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from types import ModuleType
from typing import Any

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Router, WebSocketRoute

from control_plane.runtime.component_app import ComponentApp

MAX_ROUTES = 500
_IMPLIED = frozenset({"HEAD", "OPTIONS"})


def declared_routes(app: Any, prefix: str) -> tuple[str, ...]:
    """Return the routes of an application as `METHOD /path`, below a prefix; nothing of unknown ones.

    Routes that its documentation leaves out, such as that of the documentation itself, are left out.
    """
    return tuple(islice(_declared(app, prefix), MAX_ROUTES))


def routes_of(app: Any, prefix: str = "") -> Iterator[tuple[str, RouteContext]]:
    """Yield each route of an application with its path, those of mounted applications included."""
    return _below(app.routes if isinstance(app, Starlette | ComponentApp) else (), prefix.rstrip("/"))


def work_out(module: ModuleType) -> None:
    """Have FastAPI work out the included routes of a module's applications and routers.

    It does so when they are looked at first; done before a fork, all hosts share what comes of it.
    """
    for value in list(getattr(module, "__dict__", {}).values()):
        # By its type: a lazy object would come to life if it were asked for its class.
        if issubclass(type(value), Starlette | Router):
            with contextlib.suppress(Exception, SystemExit):  # whoever serves them meets it, and says so
                for _ in iter_route_contexts(value.routes):
                    pass


def _below(routes: Sequence[BaseRoute], prefix: str) -> Iterator[tuple[str, RouteContext]]:
    for route in iter_route_contexts(routes):
        path = f"{prefix}{route.path or ''}"
        if isinstance(route.original_route, Mount):
            yield from _below(route.original_route.routes, path)
        else:
            yield path, route


def _declared(app: Any, prefix: str) -> Iterator[str]:
    for path, route in routes_of(app, prefix):
        if getattr(route, "include_in_schema", True) and route.path:
            for method in _methods(route):
                yield f"{method} {path}"


def _methods(route: RouteContext) -> list[str]:
    if isinstance(route.original_route, WebSocketRoute):
        return ["WEBSOCKET"]
    return sorted(route.methods - _IMPLIED) if route.methods else ["ANY"]
