"""Tasks that a component owns: they live in its task group, and a crash of one is its crash."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from contracts.errors import ComponentError
from control_plane.runtime.loading import users_traceback


class OwnedTaskCrashed(ComponentError):
    """A task of the component ended with an exception."""

    code = "E5005"


class OwnedTasks:
    """Runs coroutines in a task group and turns any exception, SystemExit too, into `OwnedTaskCrashed`."""

    def __init__(self, group: asyncio.TaskGroup, *, component: str, replica: str) -> None:
        self.replica_id = replica
        self._group = group
        self._component = component
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str = "") -> None:
        """Run `work` until it ends or the component shuts down."""
        task = self._group.create_task(
            self._run(work, name or getattr(work, "__qualname__", "task")), name=name or None
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Cancel what is left; the task group waits for it."""
        for task in list(self._tasks):
            task.cancel()

    async def _run(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await work
        except (Exception, SystemExit) as exc:
            # SystemExit would end the event loop, and every neighbour with it.
            raise OwnedTaskCrashed(
                f"component '{self._component}': task '{name}' crashed with {type(exc).__name__}: {exc}",
                detail=users_traceback(exc),
            ) from exc
