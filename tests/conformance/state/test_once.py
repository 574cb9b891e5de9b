"""Effects that happen once."""

from __future__ import annotations

import asyncio

import pytest

from contracts.state import Json, SharedState
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


class Effect:
    """Counts how often it ran, and waits for permission to end."""

    def __init__(self, *results: Json) -> None:
        self.runs = 0
        self.may_end = asyncio.Event()
        self._results = results

    async def __call__(self) -> Json:
        self.runs += 1
        await self.may_end.wait()
        result = self._results[min(self.runs, len(self._results)) - 1]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.mark.parametrize("result", [{"pages": [1, 2]}, None])
async def test_concurrent_callers_everywhere_get_the_one_result(
    state: SharedState, other: SharedState, result: Json
) -> None:
    effect = Effect(result, "a second run")
    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(store.once("key", effect)) for _ in range(4) for store in (state, other)]
        await eventually(lambda: effect.runs)
        effect.may_end.set()
    assert [caller.result() for caller in callers] == [result] * 8
    assert await other.once("key", effect) == result
    assert effect.runs == 1


async def test_each_key_runs_its_own(state: SharedState) -> None:
    effect = Effect("first", "second")
    effect.may_end.set()
    assert [await state.once("a", effect), await state.once("b", effect)] == ["first", "second"]


async def test_an_exception_records_nothing_and_the_next_caller_tries_again(
    state: SharedState, other: SharedState
) -> None:
    effect = Effect(ZeroDivisionError(), "worked")
    effect.may_end.set()
    with pytest.raises(ZeroDivisionError):
        await state.once("key", effect)
    assert await other.once("key", effect) == "worked"


async def test_a_cancelled_caller_hands_over_to_the_next(state: SharedState, other: SharedState) -> None:
    effect = Effect("first", "second")
    cancelled = asyncio.create_task(state.once("key", effect))
    await eventually(lambda: effect.runs == 1)
    waiting = asyncio.create_task(other.once("key", effect))
    cancelled.cancel()
    await eventually(lambda: effect.runs == 2)
    effect.may_end.set()
    assert await asyncio.wait_for(waiting, 5) == "second"


async def test_the_result_is_forgotten_after_its_time(state: SharedState) -> None:
    effect = Effect("first", "second")
    effect.may_end.set()
    await state.once("key", effect, ttl_s=0.05)

    async def ran_again() -> bool:
        return bool(await state.once("key", effect, ttl_s=10) == "second")

    await eventually(ran_again)


async def test_a_result_that_is_no_json_is_refused(state: SharedState) -> None:
    effect = Effect({1, 2}, "next")
    effect.may_end.set()
    with pytest.raises(TypeError):
        await state.once("key", effect)
    assert await state.once("key", effect) == "next"
