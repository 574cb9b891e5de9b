"""An application's lifespan is the component's: its failures are the component's failures."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI

from components.adapters.asgi import AsgiAdapter
from contracts.component import AsgiApp, ComponentContext
from contracts.specs import ComponentSpec

SPEC = ComponentSpec(name="shop", use="shop:app")

pytestmark = pytest.mark.anyio


def adapted(tasks: asyncio.TaskGroup, *, fails: str) -> AsgiAdapter:
    """Adapt an application whose lifespan fails at one end."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> Any:
        if fails == "startup":
            raise ConnectionError("the database is away")
        yield
        if fails == "shutdown":
            raise ConnectionError("the database is away")

    def spawn(work: Coroutine[Any, Any, None], *, name: str = "") -> None:
        tasks.create_task(work, name=name)

    context = SimpleNamespace(spawn=spawn, logger=SimpleNamespace(debug=lambda *_args, **_more: None))
    return AsgiAdapter(cast("ComponentContext", context), cast("AsgiApp", FastAPI(lifespan=lifespan)), SPEC)


async def test_a_failed_lifespan_startup_fails_the_startup() -> None:
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(RuntimeError, match="the database is away"):
            await adapted(tasks, fails="startup").startup()


async def test_a_failed_lifespan_shutdown_fails_the_shutdown() -> None:
    async with asyncio.TaskGroup() as tasks:
        adapter = adapted(tasks, fails="shutdown")
        await adapter.startup()

        with pytest.raises(RuntimeError, match="the database is away"):
            await adapter.shutdown()


async def test_a_lifespan_in_order_ends_without_a_word() -> None:
    async with asyncio.TaskGroup() as tasks:
        adapter = adapted(tasks, fails="")
        await adapter.startup()

        await adapter.shutdown()
