"""Hosts a FastStream application: its lifespan, its hooks, and its own broker.

That is left alone, unless the component says `adopt_bus`: then its streams are the bus's, in every mode.
"""

from __future__ import annotations

import contextlib
from typing import Any

from fastapi import APIRouter

from contracts import ComponentContext
from contracts.specs import ComponentSpec


class FastStreamAdapter:
    """Starts and stops the application as `faststream run` does, but for its signal handlers."""

    def __init__(self, context: ComponentContext, target: Any, spec: ComponentSpec) -> None:
        self._context = context
        self._app = target
        self._spec = spec
        self._stack = contextlib.AsyncExitStack()
        if spec.adopt_bus:
            self._adopt()

    async def startup(self) -> None:
        """Enter the lifespan, run the hooks, connect the broker; leave nothing where one of them fails."""
        try:
            await self._stack.enter_async_context(self._app.lifespan_context())
            await self._app.start()
            if self._spec.adopt_bus:
                self._adopt()  # what lifespan and hooks have added
                self._share_globals()
        except BaseException:
            with contextlib.suppress(Exception):
                await self.shutdown()
            raise

    async def shutdown(self) -> None:
        """Run the hooks, let the broker finish what it holds, leave the lifespan."""
        try:
            await self._app.stop()
        finally:
            await self._stack.aclose()

    def _adopt(self) -> None:
        for broker in self._app.brokers:
            self._context.broker.include_router(broker)

    def _share_globals(self) -> None:
        """Let adopted handlers find in their `Context` what lifespan and hooks have put there."""
        ours = self._context.broker.context
        for name, value in self._app.context.context.items():
            if name not in ours.context:
                ours.set_global(name, value)

    def get_routes(self) -> APIRouter | None:
        """Return nothing."""
        return None

    async def health_check(self) -> dict[str, Any]:
        """Ask whether the broker is connected."""
        broker = self._app.broker
        connected = broker is None or await broker.ping(timeout=self._spec.health.timeout_s)
        return {"status": "ok" if connected else "its broker is not connected"}
