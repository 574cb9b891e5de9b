"""A component's context and directory for tests: the endpoints are whatever the test says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any

from contracts.component import Endpoint


class FakeDirectory:
    """A directory whose endpoints a test sets."""

    def __init__(self, endpoints: Sequence[Endpoint] = ()) -> None:
        self._endpoints = list(endpoints)
        self._changed = asyncio.Event()
        self.replicas: dict[str, dict[str, str]] = {}

    def set(self, *endpoints: Endpoint) -> None:
        """Replace the endpoints; whoever follows the changes sees the new list."""
        self._endpoints = list(endpoints)
        self._changed.set()
        self._changed = asyncio.Event()

    def endpoints(self) -> Sequence[Endpoint]:
        """Return what the test set."""
        return list(self._endpoints)

    async def changes(self) -> AsyncIterator[Sequence[Endpoint]]:
        """Iterate over the lists the test sets."""
        while True:
            changed = self._changed
            yield self.endpoints()
            await changed.wait()

    async def caught_up(self) -> None:
        """Return at once: all is known."""

    def status(self) -> Mapping[str, Any]:
        """Return the replicas' states as the test set them."""
        return self.replicas


class FakeContext:
    """As much of a context as a component without bus and state needs."""

    def __init__(self, name: str, *, config: Any, directory: FakeDirectory, tasks: asyncio.TaskGroup) -> None:
        self.name = name
        self.replica_id = f"{name}-1"
        self.config = config
        self.logger = logging.getLogger(f"component.{self.replica_id}")
        self.directory = directory
        self._tasks = tasks
        self._owned: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str = "") -> None:
        """Run a task until `close`; its crash fails the test."""
        self._owned.append(self._tasks.create_task(work, name=name))

    def close(self) -> None:
        """Cancel what was spawned."""
        for task in self._owned:
            task.cancel()
