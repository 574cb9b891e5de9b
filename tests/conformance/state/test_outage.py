"""What happens to a Redis store when its server goes away, comes back, or refuses it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from redis.asyncio import Redis

from contracts.errors import BusError
from contracts.state import Change, LeaseLost, SharedState
from control_plane.connections import connect
from control_plane.stores import RedisState, feed, open_state
from tests.support.redis_servers import Server, binary, running_server
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["valkey", "redis"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    if binary(request.param) is None:
        pytest.skip(f"no {request.param}-server on this machine")
    with running_server(request.param, tmp_path) as started:
        yield started


@pytest.fixture
async def client(running: Server) -> AsyncIterator[Redis]:
    async with connect(running.url) as connected:
        yield connected


@pytest.fixture
async def state(running: Server) -> AsyncIterator[SharedState]:
    async with open_state("novel", running.url) as opened:
        yield opened


async def test_keys_and_values_read_as_plain_text(state: SharedState, client: Redis) -> None:
    await state.set("story:1", {"title": "Ünder"})
    await state.hash_set("chapters", "1", ["draft"])
    assert await client.get("novel:state:story:1") == '{"title":"Ünder"}'
    assert await client.hgetall("novel:state:chapters") == {"1": '["draft"]'}


async def test_a_state_that_nobody_asks_has_no_connection(running: Server, client: Redis) -> None:
    async with open_state("novel", running.url) as idle:
        assert isinstance(idle, RedisState)
        assert "client" not in vars(idle._link)
        alone = len(await client.client_list())
        await idle.set("key", 1)
        assert len(await client.client_list()) == alone + 1
    async with open_state("novel", running.url) as unasked:
        assert isinstance(unasked, RedisState)
    assert "client" not in vars(unasked._link)


async def test_an_unreachable_server_is_a_bus_error(state: SharedState, running: Server) -> None:
    await state.set("key", 1)
    running.kill()
    with pytest.raises(BusError, match="E4001"):
        await state.get("key")
    with pytest.raises(BusError, match="E4001"):
        await state.set("key", 1)
    with pytest.raises(BusError, match="E4001"):
        _ = [key async for key in state.scan("")]


@pytest.mark.parametrize("credentials", ["", ":wrong@"], ids=["none", "wrong"])
async def test_refused_credentials_are_a_bus_error_of_their_own(
    client: Redis, running: Server, credentials: str
) -> None:
    await client.config_set("requirepass", "secret")
    async with open_state("novel", running.url.replace("://", f"://{credentials}")) as stranger:
        with pytest.raises(BusError, match="E4002"):
            await stranger.get("key")


async def test_a_refused_command_is_a_bus_error_of_its_own(state: SharedState, client: Redis) -> None:
    await client.execute_command("ACL", "SETUSER", "default", "-@scripting")
    with pytest.raises(BusError, match="E4003"):
        await state.set("key", 1)


async def test_a_watch_outlives_a_restart_and_sees_what_it_missed(
    state: SharedState, running: Server, tmp_path: Path
) -> None:
    await state.set("stays", 1)
    await state.set("vanishes", 1)
    async with aclosing(state.watch("")) as changes, asyncio.timeout(20):
        await anext(changes)
        await anext(changes)
        running.kill()
        (tmp_path / "appendonlydir").rename(tmp_path / "lost")  # the server comes back empty
        running.start()
        async with open_state("novel", running.url) as fresh:
            await fresh.set("appears", 2)
        missed = [await anext(changes) for _ in range(3)]
    assert set(missed) == {Change("appears", 2), Change("stays", None), Change("vanishes", None)}


async def test_a_watch_may_begin_while_the_server_is_away(state: SharedState, running: Server) -> None:
    running.kill()
    async with aclosing(state.watch("")) as changes, asyncio.timeout(20):
        first = asyncio.ensure_future(anext(changes))
        await asyncio.wait({first}, timeout=0.1)
        running.start()
        async with open_state("novel", running.url) as fresh:
            await fresh.set("key", 1)
        assert await first == Change("key", 1)


async def test_a_lease_whose_record_is_gone_is_lost_at_the_next_renewal(
    state: SharedState, client: Redis
) -> None:
    async def hold() -> None:
        async with state.lease("name", ttl_s=3):
            await client.delete("novel:lease:name")
            await asyncio.Event().wait()

    with pytest.raises(LeaseLost, match="was lost"):
        await asyncio.wait_for(hold(), 2.5)  # a renewal comes after 1 s, the deadline after 3 s


async def test_a_holder_that_cannot_reach_the_server_stops_at_its_deadline(
    state: SharedState, running: Server
) -> None:
    async def hold() -> None:
        async with state.lease("name", ttl_s=0.5):
            running.kill()
            await asyncio.Event().wait()

    with pytest.raises(LeaseLost, match="was lost"):
        await asyncio.wait_for(hold(), 10)


async def test_tokens_grow_although_the_server_lost_its_data(state: SharedState, client: Redis) -> None:
    async with state.lease("name", ttl_s=10) as before:
        await client.flushall()
    await asyncio.sleep(0.002)  # the server's clock is what makes the next one greater
    async with state.lease("name", ttl_s=10) as after:
        assert after.token > before.token


async def test_tokens_grow_although_the_clock_was_set_back(state: SharedState, client: Redis) -> None:
    future = 99_999_999_999_999
    await client.hset("novel:lease:name", mapping={"token": str(future), "until_ms": "0"})
    async with state.lease("name", ttl_s=10) as lease:
        assert lease.token == future + 1


async def test_nothing_is_connected_for_changes_while_nobody_follows(
    state: SharedState, client: Redis
) -> None:
    async def listeners() -> int:
        return dict(await client.pubsub_numsub("novel:state-changes"))["novel:state-changes"]

    async with aclosing(state.watch("")) as changes:
        await state.set("key", 1)
        await anext(changes)
        assert await listeners() == 1

    async def nobody_listens() -> bool:
        return await listeners() == 0

    await eventually(nobody_listens)


async def test_a_follower_that_comes_as_the_last_one_goes_leaves_nothing_behind(state: SharedState) -> None:
    leaving = AsyncExitStack()
    await leaving.enter_async_context(state._feed.follow("state:a"))
    gone = asyncio.ensure_future(leaving.aclose())
    await asyncio.sleep(0)
    async with state._feed.follow("state:b"):
        assert not gone.done()
    await gone
    assert state._feed._reader is None


async def test_a_key_that_expires_during_an_outage_is_seen_to_be_gone(
    state: SharedState, running: Server
) -> None:
    async with aclosing(state.watch("")) as changes, asyncio.timeout(20):
        await state.set("key", 1, ttl_s=0.3)
        assert await anext(changes) == Change("key", 1)
        running.kill()
        gone = asyncio.ensure_future(anext(changes))
        await asyncio.wait({gone}, timeout=0.6)  # longer than the key lives
        running.start()
        assert await gone == Change("key", None)


async def test_a_quiet_feed_stays(
    state: SharedState, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(feed, "SILENCE_S", 0.05)
    async with aclosing(state.watch("")) as changes, asyncio.timeout(20):
        change = asyncio.ensure_future(anext(changes))
        await asyncio.wait({change}, timeout=0.5)  # many silences
        await state.set("key", 1)
        assert await change == Change("key", 1)
    assert "state.feed.lost" not in caplog.messages


async def test_a_server_that_stops_answering_is_found_out(
    state: SharedState, running: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stays open and silent, as it does when a network is cut."""
    monkeypatch.setattr(feed, "SILENCE_S", 0.2)
    async with aclosing(state.watch("")) as changes, asyncio.timeout(20):
        await state.set("key", 1)
        await anext(changes)
        os.kill(running.pid, signal.SIGSTOP)
        again = asyncio.ensure_future(anext(changes))
        await eventually(lambda: "state.feed.lost" in caplog.messages)
        os.kill(running.pid, signal.SIGCONT)
        assert await again == Change("key", 1)


async def test_where_two_ran_the_effect_both_get_what_was_recorded_first(
    state: SharedState, client: Redis
) -> None:
    async def first() -> str:
        await client.delete("novel:lease:once:key")  # as if its holder had been paused past the lease
        assert await state.once("key", second) == "second"
        return "first"

    async def second() -> str:
        return "second"

    assert await state.once("key", first) == "second"
