"""Values, hashes, counters and scans."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.errors import BusError
from contracts.state import SharedState
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

JSON_VALUES = [None, True, 0, -3, 1.5, "", "naïve ☕", [], [1, [2]], {}, {"b": 1, "a": [None]}]


class TestValues:
    @pytest.mark.parametrize("value", JSON_VALUES, ids=repr)
    async def test_what_is_set_is_read_by_another_process(
        self, state: SharedState, other: SharedState, value: Any
    ) -> None:
        await state.set("key", value)
        assert await other.get("key", "default") == value

    async def test_a_missing_key_gives_the_default(self, state: SharedState) -> None:
        assert await state.get("key") is None
        assert await state.get("key", [1]) == [1]

    async def test_what_the_caller_does_to_a_value_later_changes_nothing(self, state: SharedState) -> None:
        value = [1]
        await state.set("key", value)
        value.append(2)
        (await state.get("key")).append(3)
        assert await state.get("key") == [1]

    @pytest.mark.parametrize("value", [{1, 2}, b"x", float("nan"), "\ud800"], ids=ascii)
    async def test_what_is_no_json_is_refused_and_nothing_stored(
        self, state: SharedState, value: Any
    ) -> None:
        with pytest.raises((TypeError, ValueError)):
            await state.set("key", value)
        assert await state.get("key", "none") == "none"

    async def test_get_many_gives_the_values_there_are(self, state: SharedState) -> None:
        await state.set("a", 1)
        await state.set("b", None)
        await state.hash_set("hash", "field", 1)
        assert await state.get_many(["a", "b", "hash", "missing"]) == {"a": 1, "b": None}
        assert await state.get_many([]) == {}

    async def test_delete_says_whether_there_was_something(self, state: SharedState) -> None:
        await state.set("value", 1)
        await state.hash_set("hash", "field", 1)
        assert [await state.delete(key) for key in ("value", "hash", "value")] == [True, True, False]

    async def test_a_value_is_gone_after_its_time_to_live(self, state: SharedState) -> None:
        await state.set("key", 1, ttl_s=0.05)
        assert await state.get("key") == 1
        await eventually(lambda: _is_missing(state, "key"))

    async def test_setting_again_ends_the_time_to_live(self, state: SharedState) -> None:
        await state.set("key", 1, ttl_s=0.05)
        await state.set("mark", 1, ttl_s=0.1)
        await state.set("key", 2)
        await eventually(lambda: _is_missing(state, "mark"))
        assert await state.get("key") == 2

    async def test_counting_leaves_the_time_to_live(self, state: SharedState) -> None:
        await state.set("key", 1, ttl_s=0.05)
        await state.increment("key")
        await eventually(lambda: _is_missing(state, "key"))

    @pytest.mark.parametrize("ttl_s", [0, -1])
    async def test_a_time_to_live_that_is_not_positive_is_refused(
        self, state: SharedState, ttl_s: float
    ) -> None:
        with pytest.raises(ValueError, match="time to live"):
            await state.set("key", 1, ttl_s=ttl_s)

    async def test_applications_do_not_see_each_other(self, state: SharedState, app: str) -> None:
        await state.set("key", 1)
        assert [key async for key in state.scan("")] == ["key"]
        assert app not in await state.get_many(["key"])


class TestCompareAndSet:
    async def test_the_expected_value_is_replaced(self, state: SharedState) -> None:
        await state.set("key", {"b": 1, "a": 2})
        assert await state.compare_and_set("key", {"a": 2, "b": 1}, "new")
        assert await state.get("key") == "new"

    async def test_another_value_stays(self, state: SharedState) -> None:
        await state.set("key", 1)
        assert not await state.compare_and_set("key", True, 2)
        assert await state.get("key") == 1

    async def test_none_expects_no_value(self, state: SharedState) -> None:
        assert await state.compare_and_set("key", None, 1)
        assert not await state.compare_and_set("key", None, 2)
        assert await state.get("key") == 1

    async def test_of_many_that_try_one_succeeds(self, state: SharedState, other: SharedState) -> None:
        tries = [store.compare_and_set("key", None, n) for n in range(20) for store in (state, other)]
        assert sum(await asyncio.gather(*tries)) == 1


class TestCounters:
    async def test_concurrent_increments_all_count(self, state: SharedState, other: SharedState) -> None:
        await asyncio.gather(*(store.increment("n") for _ in range(50) for store in (state, other)))
        assert await state.increment("n", -100) == 0

    async def test_a_counter_is_a_value_like_any_other(self, state: SharedState) -> None:
        await state.set("n", 41)
        assert await state.increment("n") == await state.get("n") == 42

    @pytest.mark.parametrize("value", ["text", 1.5, True, None, [1]])
    async def test_what_is_no_integer_cannot_be_added_to(self, state: SharedState, value: Any) -> None:
        await state.set("key", value)
        await state.hash_set("hash", "field", value)
        with pytest.raises(BusError, match=r"E4003 .* another kind"):
            await state.increment("key")
        with pytest.raises(BusError, match=r"E4003 .* another kind"):
            await state.hash_increment("hash", "field")


class TestHashes:
    async def test_fields_are_set_read_and_deleted_one_by_one(
        self, state: SharedState, other: SharedState
    ) -> None:
        assert await state.hash_set("h", "a", [1])
        assert not await state.hash_set("h", "a", [2])
        assert await state.hash_set("h", "b", None)
        assert await other.hash_get("h", "a") == [2]
        assert await other.hash_get("h", "c", "default") == "default"
        assert await other.hash_all("h") == {"a": [2], "b": None}
        assert [await state.hash_delete("h", "a") for _ in range(2)] == [True, False]

    async def test_a_missing_hash_is_empty(self, state: SharedState) -> None:
        assert await state.hash_all("h") == {}
        assert not await state.hash_delete("h", "a")

    async def test_a_hash_without_fields_is_no_key(self, state: SharedState) -> None:
        await state.hash_set("h", "a", 1)
        await state.hash_delete("h", "a")
        assert [key async for key in state.scan("")] == []

    async def test_fields_count(self, state: SharedState) -> None:
        totals = await asyncio.gather(*(state.hash_increment("h", "n", 2) for _ in range(20)))
        assert sorted(totals) == list(range(2, 42, 2))
        assert await state.hash_all("h") == {"n": 40}

    async def test_hash_and_value_are_not_mistaken_for_each_other(self, state: SharedState) -> None:
        await state.hash_set("hash", "a", 1)
        await state.set("value", 1)
        with pytest.raises(BusError, match="'hash' holds another kind"):
            await state.get("hash")
        with pytest.raises(BusError, match="'value' holds another kind"):
            await state.hash_set("value", "a", 1)
        with pytest.raises(BusError, match="'hash' holds another kind"):
            await state.compare_and_set("hash", None, 1)


class TestScan:
    async def test_only_keys_with_the_prefix_each_once(self, state: SharedState) -> None:
        wanted = {f"story:{n}" for n in range(1200)}
        await asyncio.gather(*(state.set(key, 1) for key in [*wanted, "other", "story"]))
        found = [key async for key in state.scan("story:")]
        assert len(found) == len(wanted)
        assert set(found) == wanted

    @pytest.mark.parametrize("prefix", ["a*", "a?", "a[b]", "a\\"])
    async def test_a_prefix_is_plain_text(self, state: SharedState, prefix: str) -> None:
        await state.set(f"{prefix}x", 1)
        await state.set("abx", 1)
        assert [key async for key in state.scan(prefix)] == [f"{prefix}x"]

    async def test_leases_and_results_are_no_keys(self, state: SharedState) -> None:
        async with state.lease("name", ttl_s=10):
            await state.once("key", _one)
            assert [key async for key in state.scan("")] == []


async def _one() -> int:
    return 1


async def _is_missing(state: SharedState, key: str) -> bool:
    return await state.get(key) is None
