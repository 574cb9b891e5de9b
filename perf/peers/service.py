"""Components of the demo as a service, the way a team without a launcher wraps them.

    SERVICE=critic BUS_URL=unix:///tmp/bus.sock uvicorn perf.peers.service:app --port 9001
    SERVICE=all BUS_URL=unix:///tmp/bus.sock uvicorn perf.peers.service:app --port 9001

FastAPI for the routes, FastStream for the streams, redis for the state. The components' code is the
demo's. `gateway` has no component here: clients reach each service at its own port, or all of them at
the one port of `all`, below their prefixes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

from fastapi import FastAPI, Request
from faststream.redis import RedisBroker, StreamSub
from redis.asyncio import Redis

from contracts import current_component
from perf.peers.supervisors import ALL, DECLARED, prefix

SERVICE = os.environ["SERVICE"]
BUS_URL = os.environ["BUS_URL"]
GATEWAY = "gateway"


class Context:
    """As much of a component's context as a service needs that gets no events while it is measured."""

    def __init__(self, name: str, config: Any, *, broker: RedisBroker, state: Redis) -> None:
        self.name = name
        self.replica_id = f"{name}-1"
        self.config = config
        self.logger = logging.getLogger(name)
        self.state = state
        self.broker = broker

    def subscribe(self, stream: str, handler: Any, **_options: Any) -> None:
        """Handle the messages of a stream, in a consumer group named after the component."""
        self.broker.subscriber(stream=StreamSub(stream, group=self.name, consumer=self.replica_id))(handler)

    async def publish(self, stream: str, message: Any) -> None:
        """Append a message to a stream."""
        await self.broker.publish(message, stream=stream)


def _component(name: str, *, broker: RedisBroker, state: Redis) -> Any:
    declared = DECLARED[name]
    module, _, attribute = declared["use"].partition(":")
    factory = getattr(import_module(module), attribute)
    config = factory.Config(**declared.get("config", {})) if hasattr(factory, "Config") else None
    return factory(Context(name, config, broker=broker, state=state))


def make_app() -> FastAPI:
    """Return the service: the components' routes, and their startup and streams as the lifespan."""
    names = list(DECLARED) if SERVICE == ALL else [SERVICE]
    state, broker = Redis.from_url(BUS_URL), RedisBroker(BUS_URL, logger=None)  # type: ignore[arg-type]  # its documented "no log"
    components = {name: _component(name, broker=broker, state=state) for name in names if name != GATEWAY}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await state.ping()
        for component in components.values():
            await component.startup()
        await broker.start()
        yield
        for component in components.values():
            await component.shutdown()
        await broker.stop()
        await state.aclose()

    async def answering(request: Request) -> Any:
        """Return the component whose route is being called."""
        path = request.url.path
        return next(
            one for name, one in components.items() if SERVICE != ALL or path.startswith(prefix(name))
        )

    made = FastAPI(title=SERVICE, lifespan=lifespan)
    made.dependency_overrides[current_component] = answering
    if GATEWAY in names:
        made.add_api_route("/", lambda: {"status": "ok"})
    for name, component in components.items():
        made.include_router(component.get_routes(), prefix=prefix(name) if SERVICE == ALL else "")
    return made


app = make_app()
