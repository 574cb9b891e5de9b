"""Whatever is done to both, a Redis store and the memory store answer the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import BusError
from contracts.state import SharedState
from control_plane.connections import connect
from control_plane.stores import MemoryState, open_state

KEYS = st.sampled_from(["a", "b"])
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(-1, 1), st.text(max_size=3))
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("delete"), KEYS),
    st.tuples(st.just("increment"), KEYS, st.integers(-3, 3)),
    st.tuples(st.just("compare_and_set"), KEYS, VALUES, VALUES),
    st.tuples(st.just("hash_set"), KEYS, KEYS, VALUES),
    st.tuples(st.just("hash_get"), KEYS, KEYS),
    st.tuples(st.just("hash_delete"), KEYS, KEYS),
    st.tuples(st.just("hash_increment"), KEYS, KEYS, st.integers(-3, 3)),
    st.tuples(st.just("hash_all"), KEYS),
    st.tuples(st.just("get_many"), st.lists(KEYS, unique=True)),
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=25))
def test_the_same_steps_give_the_same_answers(url: str, steps: list[tuple[Any, ...]]) -> None:
    if url == "memory://":
        pytest.skip("is what the others are compared with")
    asyncio.run(_compare(url, steps))


async def _compare(url: str, steps: list[tuple[Any, ...]]) -> None:
    async with connect(url) as client, open_state("app", url) as redis:
        await client.flushdb()
        memory = MemoryState("app")
        for step in steps:
            assert await _answer(redis, step) == await _answer(memory, step), step
        assert await _keys(redis) == await _keys(memory)


async def _answer(state: SharedState, step: tuple[Any, ...]) -> Any:
    operation, *arguments = step
    try:
        answer = await getattr(state, operation)(*arguments)
    except BusError as exc:
        return exc.as_dict()
    return type(answer), answer


async def _keys(state: SharedState) -> set[str]:
    return {key async for key in state.scan("")}
