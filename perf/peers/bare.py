"""A component that does next to nothing, and the plain FastAPI application with its routes: the floor.

    uvicorn perf.peers.bare:app --port 9001

Coplane runs `Hello`, uvicorn runs `app`: the same code answers, so that the rest is what each one adds.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI

PREFIX = "/hello"


class Hello:
    """Answers every GET with the same few bytes."""

    def __init__(self, context: object) -> None:
        self.context = context

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    def get_routes(self) -> APIRouter:
        """Return the only route."""
        router = APIRouter()
        router.add_api_route("/", hello, methods=["GET"])
        return router

    def health_check(self) -> dict[str, Any]:
        """Return ok."""
        return {"status": "ok"}


async def hello() -> dict[str, str]:
    """Answer."""
    return {"hello": "world"}


app = FastAPI(title="hello")
app.include_router(Hello(None).get_routes(), prefix=PREFIX)
