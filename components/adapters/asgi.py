"""Hosts an unmodified ASGI application (FastAPI, Starlette, any callable) with its lifespan.

The application's routes, middleware and exception handlers stay its own.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from components.asking import answers_well
from contracts import AsgiApp, ComponentContext
from contracts.component import AsgiMessage, Receive, Scope, Send
from contracts.specs import ComponentSpec


class AsgiAdapter:
    """Runs the application's lifespan in step with the component's own lifecycle."""

    def __init__(self, context: ComponentContext, app: AsgiApp, spec: ComponentSpec) -> None:
        self._context = context
        self._app = app
        self._spec = spec
        self._to_app: asyncio.Queue[AsgiMessage] = asyncio.Queue(maxsize=2)
        self._from_app: asyncio.Queue[AsgiMessage] = asyncio.Queue(maxsize=4)
        self._state: dict[str, Any] = {}
        self._has_lifespan = False

    async def startup(self) -> None:
        """Send the lifespan startup event; an application without lifespan is ready at once.

        Raises:
            RuntimeError: the application answered `lifespan.startup.failed`.
        """
        await self._to_app.put({"type": "lifespan.startup"})
        self._context.spawn(self._run_lifespan(), name="lifespan")
        answer = await self._from_app.get()
        if answer["type"] == "lifespan.startup.failed":
            raise RuntimeError(f"lifespan startup failed: {answer.get('message', '')}")
        self._has_lifespan = answer["type"] == "lifespan.startup.complete"

    async def shutdown(self) -> None:
        """Send the lifespan shutdown event and wait until the application is done with it.

        Raises:
            RuntimeError: the application answered `lifespan.shutdown.failed`.
        """
        if self._has_lifespan:
            await self._to_app.put({"type": "lifespan.shutdown"})
            answer = await self._from_app.get()
            if answer["type"] == "lifespan.shutdown.failed":
                raise RuntimeError(f"lifespan shutdown failed: {answer.get('message', '')}")

    async def _run_lifespan(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._to_app.get, self._from_app.put)
        except Exception as exc:
            # ASGI: an application that raises on the lifespan scope does not support it.
            self._context.logger.debug("lifespan.unsupported", extra={"error": repr(exc)})
        await self._from_app.put({"type": "lifespan.ended"})

    def get_routes(self) -> APIRouter | None:
        """Return nothing: the application answers for itself."""
        return None

    def get_asgi_app(self) -> AsgiApp:
        """Return the application; each request gets a copy of the lifespan's state, as ASGI asks."""
        return self._answer

    @property
    def application(self) -> AsgiApp:
        """The application itself, for whoever asks what it declares."""
        return self._app

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "state": {**self._state}}, receive, send)

    async def health_check(self) -> dict[str, Any]:
        """Ask the application at `health.path`; without one it is well once its startup is complete."""
        path = self._spec.health.path
        return {"status": await answers_well(self._answer, path, root_path=self._root) if path else "ok"}

    @property
    def _root(self) -> str:
        return "" if self._spec.strip_prefix else self._spec.prefix.rstrip("/")
