"""The FastAPI application of a component that has routes, with nothing around them that is there already."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.datastructures import URLPath
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

OPENAPI = "/openapi.json"


class ComponentApp(FastAPI):
    """Answers with a component's router itself, and with the document of its routes.

    FastAPI looks an included router through once more for every request. What no handler takes is left to the
    wall around the component, which answers it in every mode alike.
    """

    def __init__(self, router: APIRouter | None, *, title: str) -> None:
        self._component_router = router
        super().__init__(title=title, openapi_url=OPENAPI, docs_url=None, redoc_url=None)

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

    def build_middleware_stack(self) -> ASGIApp:
        """Return what answers, with the handlers of exceptions and with what closes uploaded files."""
        handlers = dict(self.exception_handlers)
        return ExceptionMiddleware(AsyncExitStackMiddleware(self._route), handlers=handlers)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._component_router is None or _below_prefix(scope) == OPENAPI:
            await self.router(scope, receive, send)
        else:
            await self._component_router(scope, receive, send)


def _below_prefix(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")) if path.endswith(OPENAPI) else ""
