"""Tasks that a component owns: they live in its task group, and a crash of one is its crash."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from contracts.errors import ComponentError, CoplaneError
from control_plane.runtime.loading import users_traceback


class OwnedTaskCrashed(ComponentError):
    """A task of the component ended with an exception."""

    code = "E5005"


class OwnedTasks:
    """Runs coroutines in a task group and turns any exception, SystemExit too, into `OwnedTaskCrashed`.

    Once it is `ending`, a component may cancel its own tasks.
    """

    def __init__(self, group: asyncio.TaskGroup, *, component: str, replica: str) -> None:
        self.replica_id = replica
        self._group = group
        self._component = component
        self.ending = False
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
        except CoplaneError:
            raise
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if self.ending or (task is not None and task.cancelling()):
                raise
            # A task group takes that for an end in order, but nobody asked for it.
            raise self._crash(name, exc) from exc
        except (Exception, SystemExit) as exc:
            # SystemExit would end the event loop, and every neighbour with it.
            raise self._crash(name, exc) from exc

    def _crash(self, name: str, exc: BaseException) -> OwnedTaskCrashed:
        how = "was cancelled from within" if isinstance(exc, asyncio.CancelledError) else _told(exc)
        return OwnedTaskCrashed(
            f"component '{self._component}': task '{name}' {how}", detail=users_traceback(exc)
        )


def _told(exc: BaseException) -> str:
    return f"crashed with {type(exc).__name__}: {exc}"
