"""The public side of a host that holds one replica of the gateway, or several for a while."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from control_plane.runtime.host_server import HostServer
from tests.support.gateway_stage import tcp_socket

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on uvloop, as hosts do."""
    return "asyncio", {"use_uvloop": True}


def naming(name: str, hold: asyncio.Event | None = None) -> Any:
    """Return a gateway that answers with its name, once it is let go."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if hold is not None:
            await hold.wait()
        headers = [(b"content-length", b"%d" % len(name))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": name.encode()})

    return app


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[HostServer, aiohttp.ClientSession]]:
    sock = tcp_socket()
    server = HostServer(f"unix://{folder}/h.sock", public_sockets=[sock], reports=list)
    await server.start()
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(server.public_url, timeout=timeout) as session:
            yield server, session
    finally:
        await server.stop()
        sock.close()


async def asked(session: aiohttp.ClientSession) -> str:
    async with session.get("/") as answer:
        return await answer.text()


async def test_the_newest_gateway_answers_and_an_older_one_when_it_is_gone(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        await server.open_to_the_public("gateway-1", naming("one"))
        assert await asked(session) == "one"
        await server.open_to_the_public("gateway-2", naming("two"))
        assert await asked(session) == "two"
        await server.close_to_the_public("gateway-2", grace_s=5)
        assert await asked(session) == "one"


async def test_a_gateway_that_leaves_to_another_finishes_what_it_holds(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with serving(tmp_path) as (server, session), asyncio.TaskGroup() as tasks:
        await server.open_to_the_public("gateway-1", naming("one", go_on))
        held = tasks.create_task(asked(session))
        await asyncio.sleep(0.05)
        await server.open_to_the_public("gateway-2", naming("two"))
        await server.close_to_the_public("gateway-1", grace_s=5)
        assert await asked(session) == "two"
        go_on.set()
        assert await held == "one"


async def test_the_failure_of_one_gateway_leaves_the_other_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session):
        await server.open_to_the_public("gateway-1", naming("one"))
        await server.close_to_the_public("gateway-2", grace_s=0)
        assert await asked(session) == "one"


async def test_clients_wait_while_no_gateway_is_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as (server, session), asyncio.TaskGroup() as tasks:
        await server.open_to_the_public("gateway-1", naming("one"))
        assert await asked(session) == "one"
        await server.close_to_the_public("gateway-1", grace_s=5)
        waiting = tasks.create_task(asked(session))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await server.open_to_the_public("gateway-1", naming("anew"))
        assert await waiting == "anew"


async def test_gateways_change_places_and_lose_no_request(tmp_path: Path) -> None:
    answered: list[str] = []
    done = asyncio.Event()

    async def ask() -> None:
        while not done.is_set():
            answered.append(await asked(session))

    async with serving(tmp_path) as (server, session), asyncio.TaskGroup() as clients:
        await server.open_to_the_public("gateway-0", naming("0"))
        for _ in range(8):
            clients.create_task(ask())
        for number in range(1, 20):
            await server.open_to_the_public(f"gateway-{number}", naming(str(number)))
            await asyncio.sleep(0.005)
            await server.close_to_the_public(f"gateway-{number - 1}", grace_s=5)
        await asyncio.sleep(0.02)
        done.set()
    assert answered[-1] == "19"
