"""Watching keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from contracts.state import Change, Json, SharedState

pytestmark = pytest.mark.anyio

Changes = AsyncIterator[Change]


async def read_until(changes: Changes, key: str, value: Json) -> list[Change]:
    """Read changes up to the one that is awaited; fail where it does not come."""
    seen: list[Change] = []
    async with asyncio.timeout(5):
        async for change in changes:
            seen.append(change)
            if change == Change(key, value):
                return seen
    raise AssertionError(f"the watch ended after {seen}")


async def test_the_present_values_come_first(state: SharedState) -> None:
    await state.set("a:1", 1)
    await state.hash_set("a:2", "field", [2])
    await state.set("b", 3)
    async with aclosing(state.watch("a:")) as changes:
        first = {(await anext(changes)).key for _ in range(2)}
        await state.set("a:3", 3)
        rest = await read_until(changes, "a:3", 3)
    assert first | {change.key for change in rest} == {"a:1", "a:2", "a:3"}


async def test_changes_by_another_process_are_seen(state: SharedState, other: SharedState) -> None:
    async with aclosing(state.watch("")) as changes:
        await other.set("key", 1)
        await read_until(changes, "key", 1)
        await other.compare_and_set("key", 1, 2)
        await read_until(changes, "key", 2)
        await other.increment("key")
        await read_until(changes, "key", 3)
        await other.delete("key")
        await read_until(changes, "key", None)


async def test_a_hash_is_seen_whole(state: SharedState) -> None:
    async with aclosing(state.watch("h")) as changes:
        await state.hash_set("h", "a", 1)
        await read_until(changes, "h", {"a": 1})
        await state.hash_increment("h", "n")
        await read_until(changes, "h", {"a": 1, "n": 1})
        await state.hash_delete("h", "a")
        await state.hash_delete("h", "n")
        await read_until(changes, "h", None)


async def test_expiry_is_seen(state: SharedState) -> None:
    async with aclosing(state.watch("")) as changes:
        await state.set("key", 1, ttl_s=0.1)
        await read_until(changes, "key", 1)
        await read_until(changes, "key", None)


async def test_a_value_set_again_does_not_expire(state: SharedState) -> None:
    await state.set("key", 1, ttl_s=0.1)
    await state.set("mark", 1, ttl_s=0.2)
    async with aclosing(state.watch("")) as changes:
        await state.set("key", 2)
        seen = await read_until(changes, "mark", None)
    assert Change("key", None) not in seen


async def test_a_slow_watcher_skips_values_but_never_the_newest(state: SharedState) -> None:
    async with aclosing(state.watch("")) as changes:
        await state.set("n", 0)
        await read_until(changes, "n", 0)
        for _ in range(500):
            await state.increment("n")
        seen = await read_until(changes, "n", 500)
    assert len(seen) < 500


async def test_watchers_come_and_go_without_disturbing_each_other(state: SharedState) -> None:
    async with aclosing(state.watch("")) as stays:
        async with aclosing(state.watch("")) as goes:
            await state.set("key", 1)
            await asyncio.gather(read_until(stays, "key", 1), read_until(goes, "key", 1))
        await state.set("key", 2)
        await read_until(stays, "key", 2)
    async with aclosing(state.watch("")) as later:
        await read_until(later, "key", 2)


async def test_a_second_watcher_begins_with_the_present_values_too(state: SharedState) -> None:
    async with aclosing(state.watch("")) as first:
        await state.set("key", 1)
        await read_until(first, "key", 1)
        async with aclosing(state.watch("")) as second:
            await read_until(second, "key", 1)


async def test_a_cancelled_watcher_leaves_no_task_behind(state: SharedState) -> None:
    before = asyncio.all_tasks()
    await state.set("key", 1)
    got_one = asyncio.Event()

    async def watch() -> None:
        async with aclosing(state.watch("")) as changes:
            async for _ in changes:
                got_one.set()

    watcher = asyncio.create_task(watch())
    await asyncio.wait_for(got_one.wait(), 5)
    watcher.cancel()
    await asyncio.wait({watcher})
    assert asyncio.all_tasks() == before
