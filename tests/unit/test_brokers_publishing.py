"""What becomes of a message that its stream does not take at once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from contracts.errors import BusError, BusUnavailable
from control_plane.brokers import BusBroker
from control_plane.brokers.errors import stream_full
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import Fields

pytestmark = pytest.mark.anyio

TIMEOUT_S = 0.2
# Short enough for several tries in that time.
HASTY = DeliverySettings(publish_pause_s=0.001, publish_pause_max_s=0.01)
PATIENT = DeliverySettings(publish_pause_s=0.001, publish_pause_max_s=1.0)


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


async def refused_by(transport: MemoryTransport, settings: DeliverySettings = HASTY) -> BusError:
    broker = BusBroker(
        app="app", component="writer", replica="writer-1", transport=transport, settings=settings
    )
    with pytest.raises(BusError) as refused:
        await broker.publish({"number": 1}, "chapters", timeout_s=TIMEOUT_S)
    return refused.value


async def test_silence_is_told_with_the_time_that_was_allowed() -> None:
    error = await refused_by(Refusing())
    assert error.code == "E4001"
    assert f"within {TIMEOUT_S:g} s" in str(error)


FIRST = [BusUnavailable("nobody listens there"), stream_full("chapters", 10, behind="editor")]


@pytest.mark.parametrize("first", FIRST)
async def test_a_short_silence_after_an_answer_is_told_as_that_answer(first: BusError) -> None:
    transport = Refusing(first)
    assert await refused_by(transport, PATIENT) is first
    assert len(transport.asked_for_s) == 2


@pytest.mark.parametrize("first", FIRST)
async def test_a_long_silence_after_an_answer_is_told_as_silence(first: BusError) -> None:
    error = await refused_by(Refusing(first))
    assert error.code == "E4001"
    assert "no answer" in str(error)


async def test_a_stream_that_stays_full_is_asked_no_more_when_the_time_is_up() -> None:
    full = [stream_full("chapters", 10, behind="editor") for _ in range(1000)]
    transport = Refusing(*full)

    assert await refused_by(transport) in full
    assert len(transport.asked_for_s) > 2
    assert min(transport.asked_for_s) > 0
    assert transport.asked_for_s == sorted(transport.asked_for_s, reverse=True)


class FullOnce(MemoryTransport):
    """A bus that has room when it is asked for the second time."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal: weakref.ref[BusError] | None = None

    async def append(self, stream: str, fields: Fields, **options: Any) -> str:
        if self.refusal is None:
            refusal = stream_full(stream, 10, behind="editor")
            self.refusal = weakref.ref(refusal)
            try:
                raise refusal
            finally:
                del refusal  # which this frame would keep, and it this frame
        return await super().append(stream, fields, **options)


async def test_a_publish_that_had_to_wait_leaves_nothing_to_collect() -> None:
    transport = FullOnce()
    broker = BusBroker(app="app", component="writer", replica="writer-1", transport=transport, settings=HASTY)
    gc.disable()
    try:
        await broker.publish({"number": 1}, "chapters")
        assert transport.refusal is not None
        assert transport.refusal() is None
    finally:
        gc.enable()
