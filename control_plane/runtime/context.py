"""What a component is given: the one implementation of `ComponentContext`, for every mode.

It only forwards; where memory or Redis, this process or another, was decided in the host.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from contracts.component import CallResponse, Directory, Handler
from contracts.state import SharedState
from control_plane.brokers import BusBroker
from control_plane.runtime.calls import Caller
from control_plane.runtime.children import open_output
from control_plane.runtime.owned_tasks import OwnedTasks
from control_plane.runtime.workers import WorkerPool

T = TypeVar("T")


@dataclass(frozen=True)
class HostServices:
    """What all replicas of a host share."""

    state: SharedState
    directory: Directory
    caller: Caller
    workers: WorkerPool
    logs: Path


class ReplicaContext:
    """One replica's context; see `contracts.ComponentContext` for what each part means."""

    def __init__(
        self,
        *,
        name: str,
        replica_id: str,
        config: Any,
        broker: BusBroker,
        services: HostServices,
        tasks: OwnedTasks,
        environment: Mapping[str, str],
        finish: Callable[[], None],
    ) -> None:
        self.name = name
        self.replica_id = replica_id
        self.config = config
        self.logger = logging.getLogger(f"component.{replica_id}")
        self._broker = broker
        self._services = services
        self._tasks = tasks
        self.environment = environment
        self.finish = finish

    @functools.cached_property
    def tracer(self) -> Any:
        """Return an OpenTelemetry tracer; it does nothing until a tracer provider is set."""
        from opentelemetry import trace

        return trace.get_tracer(self.name)

    @property
    def broker(self) -> BusBroker:
        """Return this component's FastStream broker."""
        return self._broker

    @property
    def state(self) -> SharedState:
        """Return the shared state."""
        return self._services.state

    @property
    def directory(self) -> Directory:
        """Return the endpoints of every component."""
        return self._services.directory

    async def publish(
        self, stream: str, message: Any, *, correlation_id: str | None = None, timeout_s: float = 10.0
    ) -> str:
        """Append a message to a stream of the backend and return its id."""
        return await self._broker.publish(message, stream, correlation_id=correlation_id, timeout_s=timeout_s)

    def subscribe(
        self,
        stream: str,
        handler: Handler | None = None,
        *,
        broadcast: bool = False,
        concurrency: int = 1,
        max_deliveries: int = 5,
    ) -> Any:
        """Handle the messages of a stream; as a call or as a decorator."""
        register = self._broker.subscriber(
            stream, broadcast=broadcast, concurrency=concurrency, max_deliveries=max_deliveries
        )
        return register if handler is None else register(handler)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str = "") -> None:
        """Run a task that the component owns."""
        self._tasks.spawn(work, name=name)

    def open_output(self) -> int:
        """Open the file of what this replica prints."""
        return open_output(self._services.logs / f"{self.replica_id}.out.log")

    async def run_in_process(self, func: Callable[..., T], *args: Any) -> T:
        """Run a picklable function in a worker process."""
        return await self._services.workers.run(func, *args)

    async def run_in_thread(self, func: Callable[..., T], *args: Any) -> T:
        """Run a blocking function in a thread."""
        return await asyncio.to_thread(func, *args)

    async def call(
        self,
        component: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> CallResponse:
        """Send an HTTP request to another component."""
        return await self._services.caller.call(
            component, method, path, json=json, headers=headers, timeout_s=timeout_s
        )
