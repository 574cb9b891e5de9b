"""A gateway that takes over from another knows whom the other knew."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from components.gateway import Gateway, gateway
from contracts.component import ComponentContext, Endpoint
from tests.support.fake_context import FakeContext, FakeDirectory
from tests.unit.test_mounts import Client, ok

pytestmark = pytest.mark.anyio


class SlowDirectory(FakeDirectory):
    """Knows nobody until it has read what was said before."""

    def __init__(self) -> None:
        super().__init__()
        self.read = asyncio.Event()

    async def caught_up(self) -> None:
        await self.read.wait()
        self.set(Endpoint("writer", "writer-1", "/writer", True, app=ok))


def made(directory: FakeDirectory, tasks: asyncio.TaskGroup) -> tuple[Gateway, FakeContext]:
    context = FakeContext("gateway", config=Gateway.Config(), directory=directory, tasks=tasks)
    return Gateway(cast("ComponentContext", context)), context


async def status_of(answering: Gateway) -> Any:
    return (await Client("/writer/x").ask(answering.get_asgi_app())).status


async def test_it_is_not_ready_before_it_knows_who_is_there() -> None:
    directory = SlowDirectory()
    async with asyncio.TaskGroup() as tasks:
        starting, context = made(directory, tasks)
        started = tasks.create_task(starting.startup())
        await asyncio.sleep(0)
        assert not started.done()
        directory.read.set()
        await started
        assert await status_of(starting) == 200
        context.close()


async def test_while_the_bus_is_away_it_begins_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "CATCH_UP_TIMEOUT_S", 0.05)
    async with asyncio.TaskGroup() as tasks:
        starting, context = made(SlowDirectory(), tasks)
        await starting.startup()
        assert await status_of(starting) == 404
        context.close()
