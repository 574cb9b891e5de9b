"""Hosts an object that starts and stops: an agent, a server, a consumer of another queue.

`start` may return once it has started, or go on until it is stopped; a method of another name (`run`) is
the object's whole life, and its return the end of it. Where that method is no coroutine, the object is taken
for one that blocks, and its methods run in threads; otherwise all of them run in the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from components.adapters.arguments import called
from components.adapters.threads import in_thread
from components.asking import accepts
from contracts import ComponentContext
from contracts.errors import ComponentError, did_you_mean
from contracts.specs import STOP_NAMES, ComponentSpec

RUN = "start"
# They may return when all is started.
MAY_RETURN = (RUN, "start_all")
# A start that has neither returned nor raised by then goes on until it is stopped.
SETTLED_S = 0.5
LOOK_S = 0.02
# For a start that goes on to return after the stop; then it is cancelled, where it can be.
RETURN_TIMEOUT_S = 5.0


class ObjectAdapter:
    """Constructs the object in the running loop, starts it, and stops it."""

    def __init__(self, context: ComponentContext, target: Any, spec: ComponentSpec) -> None:
        self._context = context
        self._ready, self._ready_at = spec.ready, spec.ready_at
        self._object = called(target, context) if inspect.isclass(target) else target
        self._name = spec.run or RUN
        self._run = self._method(self._name)
        self._blocks = not inspect.iscoroutinefunction(self._run)
        self._stop = self._stop_method(spec.stop)
        self._ended = asyncio.Event()
        self._has_failed = False
        self._stopping = False

    async def startup(self) -> None:
        """Start the object; return when it says that it is ready, has returned, or goes on.

        Raises:
            ComponentError: it has nothing of the name by which it should say that it is ready (E2005).
        """
        self._context.spawn(self._live(), name=self._name)
        try:
            await self._until_started()
        except BaseException:
            if not self._ended.is_set():
                # It may go on in a thread; a second one of it must not run beside it.
                with contextlib.suppress(Exception):
                    async with asyncio.timeout(RETURN_TIMEOUT_S):
                        await self.shutdown()
            raise

    async def shutdown(self) -> None:
        """Stop the object, and wait until its start has returned."""
        self._stopping = True
        if self._stop is not None:
            await self._call(self._stop)
        try:
            async with asyncio.timeout(RETURN_TIMEOUT_S if self._stop else 0):
                await self._ended.wait()
        except TimeoutError:
            self._context.logger.info("object.cut_off", extra={"method": self._name})

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
        try:
            await self._call(self._run)
        except BaseException:
            self._has_failed = True
            raise
        finally:
            self._ended.set()
        if self._name not in MAY_RETURN and not self._stopping:
            self._context.finish()

    async def _until_started(self) -> None:
        if self._ready:
            while not await self._is_ready():  # noqa: ASYNC110 - an attribute tells nobody that it changes
                await asyncio.sleep(LOOK_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_S):
                await self._ended.wait()
        if self._has_failed:
            await asyncio.Event().wait()  # the task group is about to say so, and ends this wait

    async def _is_ready(self) -> bool:
        if self._ready_at is not None:
            return await accepts(*self._ready_at)
        if self._ended.is_set() and not self._has_failed:
            self._must_have(self._ready)
        said = getattr(self._object, self._ready, None)
        if callable(is_set := getattr(said, "is_set", None)):
            return bool(is_set())
        return bool(await self._call(said) if callable(said) else said)

    async def _call(self, method: Callable[[], Any]) -> Any:
        if self._blocks and not inspect.iscoroutinefunction(method):
            answer = await in_thread(method, name=f"{self._context.replica_id} {self._name}")
        else:
            answer = method()
        return await answer if inspect.isawaitable(answer) else answer

    def _stop_method(self, name: str) -> Callable[[], Any] | None:
        if name:
            return self._method(name)
        return next((self._method(each) for each in STOP_NAMES if hasattr(self._object, each)), None)

    def _method(self, name: str) -> Callable[[], Any]:
        self._must_have(name)
        method: Callable[[], Any] = getattr(self._object, name)
        return method

    def _must_have(self, name: str) -> None:
        if not hasattr(self._object, name):
            kind = type(self._object).__name__
            public = [each for each in dir(self._object) if not each.startswith("_")]
            raise ComponentError(
                f"component '{self._context.name}': {kind} has no '{name}'",
                why=did_you_mean(name, public),
                fix="name another one with `run`, `stop` or `ready`",
                code="E2005",
            )
