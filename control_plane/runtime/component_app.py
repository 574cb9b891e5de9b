"""The FastAPI application of a component that has routes, with nothing around them that is there already."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp


class ComponentApp(FastAPI):
    """Leaves what no handler takes to the wall around the component, which answers it in every mode alike."""

    def build_middleware_stack(self) -> ASGIApp:
        """Return the router, with the handlers of exceptions and with what closes uploaded files."""
        handlers = dict(self.exception_handlers)
        return ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=handlers)


def application_of(router: APIRouter | None, *, title: str) -> FastAPI:
    """Return an application with the routes of a router, which has been given all that they need.

    A router that is included is looked through once more for every request.
    """
    # Pages of a frontend come after all routes, wherever these are.
    includes = router is not None and bool(getattr(router, "_low_priority_routes", ()))
    routes = [] if router is None or includes else list(router.routes)
    app = ComponentApp(title=title, routes=routes, openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    if router is not None and includes:
        app.include_router(router)
    return app
