"""What becomes of a message that its stream does not take at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.errors import BusError, BusUnavailable
from control_plane.brokers import BusBroker
from control_plane.brokers.errors import stream_full
from control_plane.brokers.memory_transport import MemoryTransport

pytestmark = pytest.mark.anyio

TIMEOUT_S = 0.05


class Refusing(MemoryTransport):
    """A bus that answers as told, then not at all; it notes how long each answer was waited for."""

    def __init__(self, *answers: BusError) -> None:
        super().__init__()
        self._answers = iter(answers)
        self.asked_for_s: list[float] = []

    async def append(self, stream: str, *_: Any, timeout_s: float | None = None, **__: Any) -> str:
        assert timeout_s is not None
        self.asked_for_s.append(timeout_s)
        answer = next(self._answers, None)
        if answer is not None:
            raise answer
        async with asyncio.timeout(timeout_s):
            await asyncio.Event().wait()
        raise AssertionError("unreachable")


async def refused_by(transport: MemoryTransport) -> BusError:
    broker = BusBroker(app="app", component="writer", replica="writer-1", transport=transport)
    with pytest.raises(BusError) as refused:
        await broker.publish({"number": 1}, "chapters", timeout_s=TIMEOUT_S)
    return refused.value


async def test_silence_is_told_with_the_time_that_was_allowed() -> None:
    error = await refused_by(Refusing())
    assert error.code == "E4001"
    assert f"within {TIMEOUT_S:g} s" in str(error)


@pytest.mark.parametrize(
    "first", [BusUnavailable("nobody listens there"), stream_full("chapters", 10, behind="editor")]
)
async def test_silence_after_an_answer_is_told_as_that_answer(first: BusError) -> None:
    assert await refused_by(Refusing(first)) is first


async def test_a_stream_that_stays_full_is_asked_no_more_when_the_time_is_up() -> None:
    full = [stream_full("chapters", 10, behind="editor") for _ in range(100)]
    transport = Refusing(*full)

    assert await refused_by(transport) in full
    assert min(transport.asked_for_s) > 0
    assert transport.asked_for_s == sorted(transport.asked_for_s, reverse=True)
