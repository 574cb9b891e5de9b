"""The component protocol: what a user writes, and what a component is given.

A component never knows its mode: it gets a `ComponentContext` and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from fastapi import APIRouter

from contracts.state import SharedState

T = TypeVar("T")
Handler = Callable[..., Awaitable[Any]]
Scope = MutableMapping[str, Any]
AsgiMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[AsgiMessage]]
Send = Callable[[AsgiMessage], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@runtime_checkable
class Component(Protocol):
    """A unit of a backend with a lifecycle, routes and health.

    `startup` runs when everything the component depends on is ready; `shutdown` runs after the drain.
    `health_check` may also be async; a mapping whose `status` is not "ok" makes the replica degraded.
    A nested class or attribute `Config`, a pydantic model, validates the component's `config` table.
    """

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    def get_routes(self) -> APIRouter | None: ...

    def health_check(self) -> dict[str, Any]: ...


@runtime_checkable
class WrapsAsgi(Protocol):
    """A component around an application that is somebody else's, and says itself what it answers."""

    @property
    def application(self) -> AsgiApp: ...


@runtime_checkable
class ServesAsgi(Protocol):
    """A component that answers with a whole ASGI application instead of routes."""

    def get_asgi_app(self) -> AsgiApp: ...


@dataclass(frozen=True)
class Endpoint:
    """Where one replica answers HTTP: an ASGI application in this process, or an address.

    `address` is `unix:///path` or `tcp://host:port`; `app` is set for a replica in this process.
    """

    component: str
    replica: str
    prefix: str
    ready: bool
    address: str = ""
    app: AsgiApp | None = None


class Directory(Protocol):
    """Who answers what: endpoints by prefix, learnt from the event stream."""

    def endpoints(self) -> Sequence[Endpoint]:
        """Return every known endpoint that may still get requests."""
        ...

    def changes(self) -> AsyncIterator[Sequence[Endpoint]]:
        """Iterate over the whole list, at once and after every change."""
        ...

    async def caught_up(self) -> None:
        """Wait until what was said before the first question has been read."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Return the replicas as last reported, by component name, for `/-/status`."""
        ...


@dataclass(frozen=True)
class CallResponse:
    """The answer to `ComponentContext.call`."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Parse the body as JSON."""
        import json

        return json.loads(self.body)


class ComponentContext(Protocol):
    """Everything a component may reach, the same in every mode.

    Attributes:
        name: the component's name.
        replica_id: this replica's id, such as `writer-1`.
        config: the component's `config` table, validated by its `Config` model where it has one.
        logger: a standard logger whose records carry component and replica.
        tracer: an OpenTelemetry tracer.
        broker: the FastStream broker of this component; `include_router`, `subscriber`, `publisher` work.
        environment: the variables that the component's table declares, those of its `env_file` first.
        state: the shared state.
        directory: endpoints of every component, for a gateway.
    """

    name: str
    replica_id: str
    config: Any
    logger: logging.Logger
    environment: Mapping[str, str]

    @property
    def tracer(self) -> Any: ...

    @property
    def broker(self) -> Any: ...

    @property
    def state(self) -> SharedState: ...

    @property
    def directory(self) -> Directory: ...

    async def publish(
        self,
        stream: str,
        message: Any,
        *,
        correlation_id: str | None = None,
        timeout_s: float = 10.0,
    ) -> str:
        """Append a message to a stream of the backend and return its id.

        Args:
            stream: the short name; on the bus it is `{app}:bus:{stream}`.
            message: a pydantic model or a JSON value.
            correlation_id: defaults to that of the message being handled, else to a new one.
            timeout_s: how long to wait for room, or for the bus to come back, in seconds.

        Raises:
            BusError: the stream stayed full (E4004), or the bus away (E4001), for `timeout_s`.
        """
        ...

    def subscribe(
        self,
        stream: str,
        handler: Handler | None = None,
        *,
        broadcast: bool = False,
        concurrency: int = 1,
        max_deliveries: int = 5,
    ) -> Any:
        """Handle the messages of a stream; as a call or as a decorator.

        Replicas of the component compete for messages; `broadcast=True` gives each message to all.
        The handler's annotations validate the payload. Delivery is at least once: see docs/delivery.md.
        """
        ...

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str = "") -> None:
        """Run a task that the component owns: cancelled at shutdown; its crash is the component's crash."""
        ...

    def finish(self) -> None:
        """Say that the work is done: the component is drained and shut down, and has ended in order."""
        ...

    def open_output(self) -> int:
        """Open where what the component prints goes, and return the file descriptor, for a child process."""
        ...

    async def run_in_process(self, func: Callable[..., T], *args: Any) -> T:
        """Run a picklable function on CPU-bound work in a worker process."""
        ...

    async def run_in_thread(self, func: Callable[..., T], *args: Any) -> T:
        """Run a blocking function in a thread."""
        ...

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
        """Send an HTTP request to another component; `path` is below that component's prefix.

        Raises:
            ComponentError: no replica is ready (E5010) or none answered in time (E5011).
        """
        ...
