"""One component of the demo as a service of its own, the way a team without a launcher wraps it.

    SERVICE=critic BUS_URL=unix:///tmp/bus.sock uvicorn perf.peers.service:app --port 9001

FastAPI for its routes, FastStream for its streams, redis for its state. The component's code is the
demo's. `gateway` has no component here: clients reach each service at its own port.
"""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from faststream.redis import RedisBroker, StreamSub
from redis.asyncio import Redis

CONFIG = Path(__file__).resolve().parents[2] / "ctl.toml"
SERVICE = os.environ["SERVICE"]
BUS_URL = os.environ["BUS_URL"]


class Context:
    """As much of a component's context as a service needs that gets no events while it is measured."""

    def __init__(self, config: Any) -> None:
        self.name = SERVICE
        self.replica_id = f"{SERVICE}-1"
        self.config = config
        self.logger = logging.getLogger(SERVICE)
        self.state = Redis.from_url(BUS_URL)
        self.broker = RedisBroker(BUS_URL, logger=None)

    def subscribe(self, stream: str, handler: Any, **_options: Any) -> None:
        """Handle the messages of a stream, in a consumer group named after the service."""
        self.broker.subscriber(stream=StreamSub(stream, group=SERVICE, consumer=self.replica_id))(handler)

    async def publish(self, stream: str, message: Any) -> None:
        """Append a message to a stream."""
        await self.broker.publish(message, stream=stream)


def _component() -> tuple[Any, Context]:
    declared = tomllib.loads(CONFIG.read_text())["components"][SERVICE]
    module, _, name = declared["use"].partition(":")
    factory = getattr(import_module(module), name)
    config = factory.Config(**declared.get("config", {})) if hasattr(factory, "Config") else None
    context = Context(config)
    return factory(context), context


def make_app() -> FastAPI:
    """Return the service: the component's routes, and its startup and streams as the lifespan."""
    if SERVICE == "gateway":
        bare = FastAPI(title=SERVICE)
        bare.add_api_route("/", lambda: {"status": "ok"})
        return bare
    component, context = _component()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await context.state.ping()
        await component.startup()
        await context.broker.start()
        yield
        await component.shutdown()
        await context.broker.stop()
        await context.state.aclose()

    made = FastAPI(title=SERVICE, lifespan=lifespan)
    made.state.component = component
    made.state.context = context
    made.include_router(component.get_routes())
    return made


app = make_app()
