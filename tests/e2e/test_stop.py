"""Open streams do not hold up a stop, whatever their clients do."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.backend import REPOSITORY, Backend, backend

pytestmark = pytest.mark.anyio

# A grace period is 15 s: who is held up by a stream takes at least that.
BOUND_S = 10.0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """One component with streams."""
    path = tmp_path / "ctl.toml"
    path.write_text('[components.echo]\nuse = "tests.support.echo:Echo"\n')
    return path


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["multi", "single"])
@pytest.mark.parametrize("interrupted", [True, False], ids=["interrupt", "ctl-stop"])
async def test_open_streams_are_closed_properly_and_at_once(
    mode: str, interrupted: bool, config: Path
) -> None:
    with backend(config, env={"PYTHONPATH": str(REPOSITORY)}) as made:
        url = (await asyncio.to_thread(made.start("--mode", mode).until_ready))["gateway"]["url"]
        async with aiohttp.ClientSession(url) as session:
            events = await session.get("/agents/echo/ticks")
            words = await session.ws_connect("/agents/echo/ws")
            stopped = asyncio.to_thread(_stop, made, interrupted=interrupted)
            ended, closed, took_s = await asyncio.gather(events.read(), words.receive(), stopped)
        assert ended.endswith(b"data: tick\n\n")
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        assert took_s < BOUND_S
        made.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["multi", "single"])
def test_a_client_that_does_not_read_is_given_up(mode: str, config: Path) -> None:
    with backend(config, env={"PYTHONPATH": str(REPOSITORY)}) as made:
        address = urlsplit(made.start("--mode", mode).until_ready()["gateway"]["url"])
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(b"GET /agents/echo/flood HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(9) == b"HTTP/1.1 "
            assert _stop(made, interrupted=False) < BOUND_S
        made.assert_nothing_left()


def _stop(made: Backend, *, interrupted: bool) -> float:
    began_s = time.monotonic()
    if interrupted:
        assert made.interrupt() == 0, made.output
    else:
        done = made.ctl("stop")
        assert done.returncode == 0, done.stdout + done.stderr
    return time.monotonic() - began_s
