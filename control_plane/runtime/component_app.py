"""The FastAPI application of a component that has routes, with nothing around them that is there already.

The routes are the component's, and made by it when it starts, so that what is wrong with them is known then.
The application around them is made for the first request: it cannot fail, and most hosts are idle.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import cached_property
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.datastructures import URLPath
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.routing import OPENAPI

# A provider of telemetry that is set later is noticed so soon; FastAPI asks for one at every request.
LOOK_EVERY_S = 1.0


class ComponentApp:
    """Answers as a FastAPI application would that includes a component's router.

    Args:
        router: that of the component, if it has one.
        title: what the document of the routes is called.
        state: what routes find in `request.app.state`, by name.
    """

    def __init__(self, router: APIRouter | None, *, title: str, **state: Any) -> None:
        self._router = router
        self._title = title
        self._state = state

    @property
    def routes(self) -> list[BaseRoute]:
        """Return the component's routes, those included that it adds later."""
        return self._router.routes if self._router is not None else []

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Answer."""
        return self._application(scope, receive, send)

    @cached_property
    def _application(self) -> _Application:
        app = _Application(self._router, title=self._title)
        for name, value in self._state.items():
            setattr(app.state, name, value)
        return app


class _Application(FastAPI):
    """Answers with a component's router itself, and with the document of its routes.

    FastAPI looks an included router through once more for every request. What no handler takes is left to the
    wall around the component, which answers it in every mode alike.
    """

    def __init__(self, router: APIRouter | None, *, title: str) -> None:
        self._component_router = router
        self._observed = False
        self._look_again_s = 0.0
        super().__init__(title=title, openapi_url=None, docs_url=None, redoc_url=None)
        self.openapi_url = OPENAPI  # answered by us: a route of FastAPI's has a pattern to compile

    @property
    def routes(self) -> list[BaseRoute]:
        """Return all routes, those included that the component adds to its router later."""
        theirs = self._component_router.routes if self._component_router is not None else []
        return [*self.router.routes, *theirs]

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of a route by its name."""
        if self._component_router is not None:
            try:
                return self._component_router.url_path_for(name, **path_params)
            except NoMatchFound:
                pass
        return super().url_path_for(name, **path_params)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; FastAPI's own way there is taken where it has spans or metrics to make."""
        if scope["type"] == "lifespan" or self._is_observed():
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Return what answers, with the handlers of exceptions and with what closes uploaded files."""
        return _Handlers(self._route, handlers=dict(self.exception_handlers))

    def _is_observed(self) -> bool:
        now_s = time.monotonic()
        if now_s >= self._look_again_s:
            self._look_again_s = now_s + LOOK_EVERY_S
            self._observed = self._native_telemetry.enabled()
        return self._observed

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _asks_for_document(scope):
            await JSONResponse(self._document(scope.get("root_path", "")))(scope, receive, send)
        else:
            await (self._component_router or self.router)(scope, receive, send)

    def _document(self, prefix: str) -> dict[str, Any]:
        """Return the document of the routes; it says below which prefix they are."""
        return {**self.openapi(), "servers": [{"url": prefix}]} if prefix else self.openapi()


class _Handlers(ExceptionMiddleware):
    """Handles exceptions that no route has seen, such as a 404; routes handle theirs.

    Starlette watches each answer so as to know whether it had begun. Here the wall around the component says
    so to whoever begins a second time.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["starlette.exception_handlers"] = (self._exception_handlers, self._status_handlers)
        try:
            async with AsyncExitStack() as files:
                scope["fastapi_middleware_astack"] = files
                await self.app(scope, receive, send)
        except Exception as exc:
            await self._handle(exc, scope, receive, send)

    async def _handle(self, exc: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        async def fail(*_: object) -> None:
            raise exc

        handlers = {**self._exception_handlers, **self._status_handlers}
        await ExceptionMiddleware(fail, handlers=handlers)(scope, receive, send)


def _asks_for_document(scope: Scope) -> bool:
    path: str = scope["path"]
    is_there = path.endswith(OPENAPI) and path.removeprefix(scope.get("root_path", "")) == OPENAPI
    return is_there and scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
