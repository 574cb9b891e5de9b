"""Hosts an object that starts and stops: an agent, a server, a consumer of another queue.

`start` may return once it has started, or go on until it is stopped; a method of another name (`run`) is
the object's whole life, and its return the end of it. What is no coroutine runs in a thread.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from components.adapters.arguments import called
from components.adapters.threads import in_thread
from contracts import ComponentContext
from contracts.errors import ComponentError
from contracts.specs import ComponentSpec

RUN = "start"
STOP_NAMES = ("stop", "shutdown", "aclose", "close")
# A start that has neither returned nor raised by then goes on until it is stopped.
SETTLED_S = 0.5
LOOK_S = 0.02
# For a start that goes on to return after the stop; then it is cancelled, where it can be.
RETURN_TIMEOUT_S = 5.0


class ObjectAdapter:
    """Constructs the object in the running loop, starts it, and stops it."""

    def __init__(self, context: ComponentContext, target: Any, spec: ComponentSpec) -> None:
        self._context = context
        self._spec = spec
        self._object = called(target, context) if inspect.isclass(target) else target
        self._run = self._method(spec.run or RUN)
        self._stop = self._stop_method()
        self._ended = asyncio.Event()
        self._stopping = False

    async def startup(self) -> None:
        """Start the object; return when it says that it is ready, has returned, or goes on."""
        self._context.spawn(self._live(), name=self._run.__name__)
        if self._spec.ready:
            while not await self._is_ready():  # noqa: ASYNC110 - an attribute tells nobody that it changes
                await asyncio.sleep(LOOK_S)
            return
        try:
            async with asyncio.timeout(SETTLED_S):
                await self._ended.wait()
        except TimeoutError:
            self._context.logger.debug("object.goes_on", extra={"method": self._run.__name__})

    async def shutdown(self) -> None:
        """Stop the object, and wait until its start has returned."""
        self._stopping = True
        if self._stop is not None:
            await self._call(self._stop)
        if not self._ended.is_set():
            try:
                async with asyncio.timeout(RETURN_TIMEOUT_S if self._stop else 0):
                    await self._ended.wait()
            except TimeoutError:
                self._context.logger.info("object.cut_off", extra={"method": self._run.__name__})

    def get_routes(self) -> APIRouter | None:
        """Return the object's routes, where it has the method."""
        get_routes = getattr(self._object, "get_routes", None)
        return get_routes() if callable(get_routes) else None

    async def health_check(self) -> dict[str, Any]:
        """Ask the object, where it has the method; else it is well as long as it has not crashed."""
        check = getattr(self._object, "health_check", None)
        answer = await self._call(check) if callable(check) else None
        return dict(answer) if isinstance(answer, dict) else {"status": "ok"}

    async def _live(self) -> None:
        await self._call(self._run)
        self._ended.set()
        if self._run.__name__ != RUN and not self._stopping:
            self._context.finish()

    async def _is_ready(self) -> bool:
        said = getattr(self._object, self._spec.ready, None)
        if callable(is_set := getattr(said, "is_set", None)):
            return bool(is_set())
        return bool(await self._call(said) if callable(said) else said)

    async def _call(self, method: Callable[[], Any]) -> Any:
        if inspect.iscoroutinefunction(method):
            return await method()
        answer = await in_thread(method, name=f"{self._context.replica_id} {method.__name__}")
        return await answer if inspect.isawaitable(answer) else answer

    def _method(self, name: str) -> Callable[[], Any]:
        method: Callable[[], Any] | None = getattr(self._object, name, None)
        if not callable(method):
            kind = type(self._object).__name__
            raise ComponentError(
                f"component '{self._context.name}': {kind} has no method '{name}'",
                fix="name another one with `run` or `stop`",
                code="E2005",
            )
        return method

    def _stop_method(self) -> Callable[[], Any] | None:
        if self._spec.stop:
            return self._method(self._spec.stop)
        return next((self._method(name) for name in STOP_NAMES if hasattr(self._object, name)), None)
