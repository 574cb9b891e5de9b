"""Leases: one holder at a time, and a holder that learns when it is none any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from contracts.state import Lease, LeaseLost, SharedState
from control_plane.stores import MemoryState, RedisState

pytestmark = pytest.mark.anyio


async def test_a_held_lease_is_refused_to_others(state: SharedState, other: SharedState) -> None:
    async with state.lease("name", ttl_s=10):
        with pytest.raises(LeaseLost, match="somebody else"):
            async with other.lease("name", ttl_s=10):
                pytest.fail("two holders")
        async with other.lease("another name", ttl_s=10):
            pass


async def test_tokens_grow_with_every_grant(state: SharedState, other: SharedState) -> None:
    tokens = []
    for store in (state, other, state):
        async with store.lease("name", ttl_s=10) as lease:
            tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


async def test_a_lease_is_granted_anew_in_the_name_in_which_it_is_held_and_in_no_other(
    state: MemoryState | RedisState, other: MemoryState | RedisState
) -> None:
    first = await state.leases.grant("name", 60, "holder")
    for refused in ("another", "hold", ""):
        grant = await other.leases.grant("name", 60, refused)
        assert not grant.token
        assert grant.retry_in_s > 50
    second = await other.leases.grant("name", 60, "holder")
    assert second.token > first.token
    assert not await state.leases.renew(Lease("name", first.token, 60))
    assert await other.leases.renew(Lease("name", second.token, 60))
    assert (await state.leases.grant("name", 60, "holder")).token > second.token  # a renewal keeps the name


async def test_an_heir_is_granted_what_is_held_in_a_name_that_begins_so(
    state: MemoryState | RedisState, other: MemoryState | RedisState
) -> None:
    first = await state.leases.grant("name", 60, "folder/1")
    assert not (await other.leases.grant("name", 60, "other/1", "other/")).token
    second = await other.leases.grant("name", 60, "folder/2", "folder/")
    assert second.token > first.token
    assert not (await state.leases.grant("name", 60, "folder/1")).token  # it was inherited, and is so no more


async def test_a_lease_that_is_held_in_no_name_is_granted_to_nobody_else(
    state: MemoryState | RedisState, other: MemoryState | RedisState
) -> None:
    await state.leases.grant("name", 60)
    assert not (await other.leases.grant("name", 60)).token
    assert not (await other.leases.grant("name", 60, "holder", "holder")).token


async def test_a_released_lease_goes_to_a_waiter_at_once(state: SharedState, other: SharedState) -> None:
    """The time to live is far longer than the test: only the notice of the release can wake it."""
    order: list[str] = []

    async def wait_for_it() -> None:
        async with other.lease("name", ttl_s=60, wait_s=30):
            order.append("other")

    async with asyncio.timeout(10):
        async with state.lease("name", ttl_s=60):
            waiter = asyncio.create_task(wait_for_it())
            await asyncio.wait({waiter}, timeout=0.1)
            order.append("state")
        await waiter
    assert order == ["state", "other"]


async def test_many_waiters_hold_it_one_after_another(state: SharedState, other: SharedState) -> None:
    holders: list[int] = []
    tokens: list[int] = []

    async def work(store: SharedState) -> None:
        async with store.lease("name", ttl_s=10, wait_s=20) as lease:
            holders.append(1)
            tokens.append(lease.token)
            await asyncio.sleep(0.005)
            assert sum(holders) == 1
            holders.pop()

    await asyncio.gather(*(work(store) for _ in range(5) for store in (state, other)))
    assert tokens == sorted(set(tokens))


async def test_waiting_ends_at_its_deadline(state: SharedState, other: SharedState) -> None:
    async with state.lease("name", ttl_s=10):
        with pytest.raises(LeaseLost, match=r"within 0\.1 s"):
            async with other.lease("name", ttl_s=10, wait_s=0.1):
                pytest.fail("two holders")


async def test_a_lease_is_renewed_while_it_is_held(state: SharedState, other: SharedState) -> None:
    async with state.lease("name", ttl_s=0.3):
        with pytest.raises(LeaseLost):
            async with other.lease("name", ttl_s=0.3, wait_s=0.7):
                pytest.fail("two holders")


async def test_it_is_given_back_when_the_block_raises(state: SharedState, other: SharedState) -> None:
    with pytest.raises(ZeroDivisionError):
        async with state.lease("name", ttl_s=60):
            raise ZeroDivisionError
    async with other.lease("name", ttl_s=60):
        pass


async def test_it_is_given_back_when_the_holder_is_cancelled(state: SharedState, other: SharedState) -> None:
    holding = asyncio.Event()

    async def hold() -> None:
        async with state.lease("name", ttl_s=60):
            holding.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await asyncio.wait_for(holding.wait(), 5)
    holder.cancel()
    await asyncio.wait({holder})
    assert holder.cancelled()
    async with other.lease("name", ttl_s=60):
        pass


async def test_a_holder_paused_past_its_lease_is_cancelled(state: SharedState) -> None:
    with pytest.raises(LeaseLost, match="was lost"):
        await hold_and_pause(state)


async def test_a_block_that_swallows_its_cancellation_still_learns_of_the_loss(state: SharedState) -> None:
    async def swallow() -> None:
        async with state.lease("name", ttl_s=0.1):
            time.sleep(0.3)  # noqa: ASYNC251 - stops the whole event loop, as a paused process would
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

    with pytest.raises(LeaseLost, match="was lost"):
        await swallow()


async def test_what_a_paused_holder_does_later_does_not_touch_its_successor(
    state: SharedState, other: SharedState
) -> None:
    succeeded, done = asyncio.Event(), asyncio.Event()

    async def succeed() -> None:
        async with other.lease("name", ttl_s=10, wait_s=10):
            succeeded.set()
            await done.wait()

    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(LeaseLost, match="was lost"):
            await hold_and_pause(state, then=lambda: tasks.create_task(succeed()))
        await asyncio.wait_for(succeeded.wait(), 5)
        with pytest.raises(LeaseLost, match="somebody else"):
            async with state.lease("name", ttl_s=10):
                pytest.fail("two holders")
        done.set()


async def test_a_timeout_of_the_block_is_its_own(state: SharedState) -> None:
    with pytest.raises(TimeoutError):
        async with state.lease("name", ttl_s=60):
            raise TimeoutError


@pytest.mark.parametrize("ttl_s", [0, -1])
async def test_a_time_to_live_that_is_not_positive_is_refused(state: SharedState, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="time to live"):
        async with state.lease("name", ttl_s=ttl_s):
            pytest.fail("granted")


async def hold_and_pause(state: SharedState, then: Callable[[], object] = lambda: None) -> None:
    """Hold a lease, and stop the whole event loop for longer than it lasts, as a paused process would."""
    async with state.lease("name", ttl_s=0.1):
        then()
        time.sleep(0.3)  # noqa: ASYNC251 - see above
        await asyncio.Event().wait()
