"""What conformance tests run against: memory, the embedded Valkey, and redis-server where there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from control_plane.brokers import StreamTransport, open_transport
from tests.support.redis_servers import KINDS, Server, binary, running_server


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Start one server of a kind on demand, for the whole session."""
    servers: dict[str, Server] = {}
    with ExitStack() as running:

        def start(kind: str) -> Server:
            if binary(kind) is None:
                pytest.skip(f"no {kind} server on this machine")
            if kind not in servers:
                servers[kind] = running.enter_context(running_server(kind, tmp_path_factory.mktemp(kind)))
            return servers[kind]

        yield start


def _emptied(server: Server) -> str:
    with Redis.from_url(server.url) as client:
        client.flushall()
    return server.url


@pytest.fixture(params=KINDS)
def redis_url(request: pytest.FixtureRequest, shared_server: Callable[[str], Server]) -> str:
    """Return the address of a real server without data: Valkey and Redis in turn."""
    return _emptied(shared_server(request.param))


@pytest.fixture(params=["memory", *KINDS])
def bus_url(request: pytest.FixtureRequest, shared_server: Callable[[str], Server]) -> str:
    """Return the address of a bus without data: memory, Valkey and Redis in turn."""
    if request.param == "memory":
        return "memory://"
    return _emptied(shared_server(request.param))


@pytest.fixture(params=KINDS)
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """Run a server of the test's own, to be killed and started again."""
    if binary(request.param) is None:
        pytest.skip(f"no {request.param} server on this machine")
    with running_server(request.param, tmp_path) as server:
        yield server


@pytest.fixture
async def transport(bus_url: str) -> AsyncIterator[StreamTransport]:
    """Open a transport of each kind."""
    opened = await open_transport(bus_url)
    yield opened
    await opened.close()
