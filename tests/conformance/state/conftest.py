"""Every test of this folder runs against memory, the embedded Valkey, and redis-server if installed.

`state` and `other` are the same application seen by two processes: two clients of one server, or one
object in memory, which is one process by nature.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count

import pytest

from contracts.state import SharedState
from control_plane.stores import MemoryState, RedisState
from tests.support.redis_servers import binary, running_server

_apps = (f"app{number}" for number in count(1))


@pytest.fixture(scope="module", params=["memory", "valkey", "redis"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
        return
    if binary(request.param) is None:
        pytest.skip(f"no {request.param}-server on this machine")
    with running_server(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running.url


@pytest.fixture
def app() -> str:
    """Return a name of its own for each test, so that tests share a server and nothing else."""
    return next(_apps)


@pytest.fixture
async def open_state(url: str, app: str) -> AsyncIterator[Callable[[], SharedState]]:
    in_memory = MemoryState(app)
    async with AsyncExitStack() as clients:

        def open_one() -> SharedState:
            if url == "memory://":
                return in_memory
            state = RedisState(app, url)
            clients.push_async_callback(state.close)
            return state

        yield open_one


@pytest.fixture
def state(open_state: Callable[[], SharedState]) -> SharedState:
    return open_state()


@pytest.fixture
def other(open_state: Callable[[], SharedState]) -> SharedState:
    return open_state()
