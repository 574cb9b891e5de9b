"""What a subscription holds: how much it takes, and how far ahead it reads."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.brokers.held import Held
from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import Delivery, Entry

pytestmark = pytest.mark.anyio


def deliveries(*ids: str) -> list[Delivery]:
    """Return first deliveries of these entries."""
    return [Delivery(Entry(id_, {"data": "1"})) for id_ in ids]


def handled_in(held: Held, took_s: float) -> None:
    """Have a worker handle an entry."""
    held.add(deliveries("0-1"))
    assert held.take() is not None
    held.worked(took_s)
    held.let_go(["0-1"])


class TestRoom:
    async def test_a_new_subscription_takes_what_its_workers_can_begin(self) -> None:
        """Nobody knows yet how long a handler takes, and other replicas may be idle."""
        held = Held(3, DeliverySettings())
        assert await held.wait_for_room() == 3

    async def test_quick_handlers_are_read_ahead_of(self) -> None:
        held = Held(1, DeliverySettings(ahead_s=0.05, ahead_max=64))
        handled_in(held, 0.005)
        assert await held.wait_for_room() == 11

    async def test_slow_handlers_are_not_read_ahead_of(self) -> None:
        held = Held(1, DeliverySettings())
        handled_in(held, 1.0)
        assert await held.wait_for_room() == 1

    async def test_what_no_handler_was_called_for_says_nothing_of_handlers(self) -> None:
        held = Held(1, DeliverySettings(ahead_s=0.05, ahead_max=64))
        handled_in(held, 0.005)
        held.add(deliveries("0-2"))
        assert held.take() is not None
        held.worked(None)
        assert await held.wait_for_room() == 11

    async def test_opens_when_something_is_let_go(self) -> None:
        held = Held(1, DeliverySettings(held_max=1))
        held.add(deliveries("1-0"))
        entry = await held.next()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(held.wait_for_room())
            await asyncio.sleep(0)
            assert not waiting.done()
            held.worked(1.0)
            held.let_go([entry.entry.id])
        assert waiting.result() == 1

    async def test_what_waits_for_a_retry_leaves_room_for_others(self) -> None:
        """Up to `held_max` in all."""
        held = Held(1, DeliverySettings(held_max=3))
        held.add(deliveries("1-0"))
        held.retry_later(await held.next(), 60.0)
        held.worked(1.0)
        assert await held.wait_for_room() == 1
        held.drop_retries()
        assert len(held) == 0


class TestQueueing:
    async def test_what_is_held_already_is_not_queued_twice(self) -> None:
        held = Held(5, DeliverySettings())
        held.add(deliveries("1-0"))
        held.add(deliveries("1-0", "2-0"))
        first, second = await held.next(), await held.next()
        assert [first.entry.id, second.entry.id] == ["1-0", "2-0"]
        assert await held.wait_for_room() == 3

    async def test_a_retry_comes_back_marked(self) -> None:
        held = Held(1, DeliverySettings())
        held.add(deliveries("1-0"))
        held.retry_later(await held.next(), 0.001)
        held.worked(1.0)
        assert not (await held.next()).counted


class TestPauses:
    def test_double_up_to_the_longest(self) -> None:
        settings = DeliverySettings(backoff_s=0.1, backoff_max_s=5.0)
        pauses_s = [settings.retry_pause_s(deliveries) for deliveries in (1, 2, 3, 6, 7, 1000)]
        assert pauses_s == [0.1, 0.2, 0.4, 3.2, 5.0, 5.0]
