"""Hosts a coroutine function: its return is the end of the component, its exception a crash."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from components.adapters.arguments import called
from contracts import ComponentContext
from contracts.specs import ComponentSpec


class TaskAdapter:
    """Runs the function as a task that the component owns, and cancels it at the end."""

    def __init__(self, context: ComponentContext, target: Any, _spec: ComponentSpec) -> None:
        self._context = context
        self._work = target

    async def startup(self) -> None:
        """Begin; what it does from then on is its own affair."""
        self._context.spawn(self._live(), name=getattr(self._work, "__qualname__", "task"))

    async def _live(self) -> None:
        await called(self._work, self._context)
        self._context.finish()

    async def shutdown(self) -> None:
        """Do nothing: tasks are cancelled afterwards."""

    def get_routes(self) -> APIRouter | None:
        """Return nothing."""
        return None

    def health_check(self) -> dict[str, Any]:
        """Return ok: a crash is told as such."""
        return {"status": "ok"}
