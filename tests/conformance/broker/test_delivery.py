"""Delivery at least once, as DESIGN 3.3 has it, over every transport."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import Counter
from dataclasses import replace

import pytest
from faststream.exceptions import AckMessage, NackMessage, RejectMessage
from pydantic import BaseModel, TypeAdapter

from contracts.component import Handler
from control_plane.brokers import Failure, StreamTransport
from tests.conformance.broker.conftest import IMPATIENT, MakeBroker
from tests.support.ledgers import ledger as ledger_of
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

BUS = "novel:bus:chapters"
DEAD = "novel:dead:chapters"


class Chapter(BaseModel):
    number: int


async def finished(transport: StreamTransport, group: str = "writer", stream: str = BUS) -> bool:
    """Return whether the group has nothing left."""
    info = await transport.info(stream)
    return info is not None and all(each.left == 0 for each in info.groups if each.name == group)


def record_in(seen: list[int]) -> Handler:
    """Return a handler that notes the numbers of its chapters."""

    async def record(chapter: Chapter) -> None:
        seen.append(chapter.number)

    return record


class TestWhoGetsAMessage:
    async def test_replicas_of_a_component_compete(self, make_broker: MakeBroker) -> None:
        """Each message reaches exactly one of two replicas, and a slow handler leaves some to the other."""
        seen: dict[str, list[int]] = {"writer-1": [], "writer-2": []}

        def slow(numbers: list[int]) -> Handler:
            async def write(chapter: Chapter) -> None:
                numbers.append(chapter.number)
                await eventually(lambda: all(seen.values()))

            return write

        for replica, numbers in seen.items():
            broker = make_broker(replica)
            broker.subscriber("chapters")(slow(numbers))
            await broker.start()
        for number in range(20):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: sum(map(len, seen.values())) == 20)
        assert sorted(seen["writer-1"] + seen["writer-2"]) == list(range(20))

    async def test_a_broadcast_reaches_every_replica(self, make_broker: MakeBroker) -> None:
        seen: dict[str, list[int]] = {"writer-1": [], "writer-2": []}
        for replica, numbers in seen.items():
            broker = make_broker(replica)
            broker.subscriber("chapters", broadcast=True)(record_in(numbers))
            await broker.start()
        for number in range(5):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: seen == {"writer-1": [0, 1, 2, 3, 4], "writer-2": [0, 1, 2, 3, 4]})

    async def test_two_components_each_get_every_message(self, make_broker: MakeBroker) -> None:
        seen: dict[str, list[int]] = {"writer-1": [], "critic-1": []}
        for replica, numbers in seen.items():
            broker = make_broker(replica)
            broker.subscriber("chapters")(record_in(numbers))
            await broker.start()
        for number in range(5):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: seen == {"writer-1": [0, 1, 2, 3, 4], "critic-1": [0, 1, 2, 3, 4]})

    async def test_what_was_published_before_the_first_consumer_is_delivered(
        self, make_broker: MakeBroker
    ) -> None:
        broker = make_broker()
        seen: list[int] = []

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            seen.append(chapter.number)

        for number in range(3):
            await broker.publish(Chapter(number=number), "chapters")
        await broker.start()
        await eventually(lambda: seen == [0, 1, 2])

    async def test_one_consumer_gets_messages_in_order(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        seen: list[int] = []

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            await asyncio.sleep(0)
            seen.append(chapter.number)

        await broker.start()
        for number in range(300):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: len(seen) == 300)
        assert seen == list(range(300))

    async def test_concurrency_handles_that_many_at_a_time(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        release = asyncio.Event()
        running = 0
        most = 0

        @broker.subscriber("chapters", concurrency=3)
        async def write(chapter: Chapter) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await release.wait()
            running -= 1

        await broker.start()
        for number in range(8):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: running == 3)
        release.set()
        await eventually(lambda: running == 0)
        assert most == 3


class TestAFailingHandler:
    async def test_gets_the_message_again_after_growing_pauses(self, make_broker: MakeBroker) -> None:
        failures: list[Failure] = []
        broker = make_broker(on_failure=failures.append)
        tries: list[float] = []

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            tries.append(time.monotonic())
            if len(tries) < 4:
                raise RuntimeError("not yet")

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        await eventually(lambda: len(tries) == 4)
        pauses_s = [after - before for before, after in itertools.pairwise(tries)]
        assert [failure.retry_in_s for failure in failures] == [0.02, 0.04, 0.08]
        assert all(
            pause_s >= wanted_s for pause_s, wanted_s in zip(pauses_s, [0.02, 0.04, 0.08], strict=True)
        )

    async def test_does_not_hold_up_other_messages(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        seen: list[int] = []
        tries = 0

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            nonlocal tries
            if chapter.number == 0:
                tries += 1
                raise RuntimeError("never")
            seen.append(chapter.number)

        await broker.start()
        for number in range(5):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: seen == [1, 2, 3, 4])
        assert tries < 5

    async def test_sends_the_message_to_the_dead_letters_after_the_last_delivery(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """The dead letter carries the message as it was, the error, and where it came from."""
        broker = make_broker()
        tries = 0

        @broker.subscriber("chapters", max_deliveries=3)
        async def write(chapter: Chapter) -> None:
            nonlocal tries
            tries += 1
            raise RuntimeError("the muse is gone")

        await broker.start()
        entry_id = await broker.publish(Chapter(number=7), "chapters", headers={"tone": "noir"})
        (dead,) = await eventually(lambda: transport.range(DEAD))
        assert tries == 3
        assert dead.fields["data"] == '{"number":7}'
        assert dead.fields["h-tone"] == "noir"
        assert dead.fields["error"] == "RuntimeError: the muse is gone"
        assert "the muse is gone" in dead.fields["traceback"]
        assert (dead.fields["original_id"], dead.fields["group"]) == (entry_id, "writer")
        assert dead.fields["deliveries"] == "3"
        assert await finished(transport)

    async def test_that_exits_or_cancels_itself_is_a_failing_handler(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """Neither SystemExit nor a stray CancelledError ends the subscription."""
        broker = make_broker()
        seen: list[int] = []

        @broker.subscriber("chapters", max_deliveries=2)
        async def write(chapter: Chapter) -> None:
            if chapter.number == 0:
                raise SystemExit(1)
            if chapter.number == 1:
                raise asyncio.CancelledError
            seen.append(chapter.number)

        await broker.start()
        for number in range(3):
            await broker.publish(Chapter(number=number), "chapters")
        dead = await eventually(lambda: two_dead(transport))
        assert sorted(entry.fields["error"] for entry in dead) == ["CancelledError: ", "SystemExit: 1"]
        assert seen == [2]

    async def test_may_name_a_file_that_is_no_text(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """Python keeps the bytes of such a name as lone surrogates, which no bus takes."""
        broker = make_broker()

        @broker.subscriber("chapters", max_deliveries=1)
        async def write(chapter: Chapter) -> None:
            raise FileNotFoundError(os.fsdecode(b"caf\xe9"))

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        (dead,) = await eventually(lambda: transport.range(DEAD))
        assert dead.fields["error"] == r"FileNotFoundError: caf\udce9"
        assert r"caf\udce9" in dead.fields["traceback"]

    async def test_one_that_fails_slowly_is_not_read_ahead_of(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """However quick it was before: what it would hold is for other replicas."""
        broker = make_broker(settings=replace(IMPATIENT, backoff_s=60.0, backoff_max_s=60.0))
        quick, slow = 0, 0

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            nonlocal quick, slow
            if chapter.number == 0:
                quick += 1
                return
            await asyncio.sleep(0.06)
            slow += 1
            raise RuntimeError("on purpose")

        await broker.start()
        for number in (0, 0, *range(1, 21)):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: quick == 2 and slow >= 6)
        for number in range(1, 21):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: slow >= 8)
        info = await transport.info(BUS)
        assert info is not None
        assert info.groups[0].lag >= 20


async def two_dead(transport: StreamTransport) -> list[object]:
    """Return the dead letters once there are two."""
    dead = await transport.range(DEAD)
    return list(dead) if len(dead) == 2 else []


class TestAMessageThatCannotBeHandled:
    @pytest.mark.parametrize(
        "fields",
        [
            {"data": '{"number":"one"}'},
            {"data": "no json"},
            {"note": "no data"},
            {"data": "!", "content_type": "application/octet-stream", "encoding": "base64"},
        ],
        ids=["does not validate", "is no JSON", "has no data", "is no base64"],
    )
    async def test_is_a_dead_letter_at_once(
        self, fields: dict[str, str], make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        broker = make_broker()
        tries = 0

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            nonlocal tries
            tries += 1

        await broker.start()
        await transport.append(BUS, fields, max_len=100, keep=10)
        (dead,) = await eventually(lambda: transport.range(DEAD))
        assert (tries, dead.fields["deliveries"]) == (0, "1")

    async def test_its_dead_letter_says_what_is_missing(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        broker = make_broker()

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None: ...

        await broker.start()
        await transport.append(BUS, {"note": "no data"}, max_len=100, keep=10)
        (dead,) = await eventually(lambda: transport.range(DEAD))
        assert dead.fields["error"] == "Undeliverable: the entry has no field 'data'"

    async def test_a_validation_error_of_the_handlers_own_is_retried(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """What a handler parses itself may well be right the next time."""
        broker = make_broker()
        answers = iter(["gibberish", "1"])
        seen: list[int] = []

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            seen.append(TypeAdapter(int).validate_json(next(answers)))

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        await eventually(lambda: seen == [1])
        assert await transport.range(DEAD) == []

    async def test_a_wrong_return_value_is_retried(self, make_broker: MakeBroker) -> None:
        """It says nothing against the payload."""
        broker = make_broker()
        answers = iter(["x", 1])
        tries = 0

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> int:
            nonlocal tries
            tries += 1
            return next(answers)  # type: ignore[return-value]  # on purpose

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        await eventually(lambda: tries == 2)


class TestFastStreamsOwnOutcomes:
    async def test_ack_nack_and_reject_are_respected(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        broker = make_broker()
        tries: Counter[int] = Counter()

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            tries[chapter.number] += 1
            if chapter.number == 0:
                raise AckMessage
            if chapter.number == 1 and tries[1] == 1:
                raise NackMessage
            if chapter.number == 2:
                raise RejectMessage

        await broker.start()
        for number in range(3):
            await broker.publish(Chapter(number=number), "chapters")
        await eventually(lambda: finished(transport))
        assert tries == {0: 1, 1: 2, 2: 1}
        assert [entry.fields["data"] for entry in await transport.range(DEAD)] == ['{"number":2}']


class TestDuplicates:
    async def test_a_message_delivered_twice_on_purpose_is_acknowledged_once(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """Another consumer steals the entry in the middle of the handler; the ledger counts it once."""
        broker = make_broker()
        stolen = asyncio.Event()
        tries = 0

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            nonlocal tries
            tries += 1
            await stolen.wait()

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        await eventually(lambda: tries == 1)
        (again,) = await transport.claim_idle(BUS, "writer", "writer-2", min_idle_s=0.0, count=1)
        assert again.deliveries == 1
        stolen.set()
        await eventually(lambda: finished(transport))
        assert await transport.ack(BUS, "writer", [again.entry.id]) == 0
        assert await ledger_of(transport, BUS, "writer") == (1, 0)


class TestTheEndOfAReplica:
    async def test_a_drain_lets_handlers_finish(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        broker = make_broker()
        began, go_on = asyncio.Event(), asyncio.Event()

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            began.set()
            await go_on.wait()

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        await began.wait()
        async with asyncio.TaskGroup() as tasks:
            drained = tasks.create_task(broker.drain(5.0))
            await broker.publish(Chapter(number=2), "chapters")
            go_on.set()
        report = drained.result()
        assert (report.finished, report.released) == (1, 0)
        info = await transport.info(BUS)
        assert info is not None
        assert (info.groups[0].lag, info.groups[0].pending) == (1, 0)

    async def test_a_handler_cancelled_in_the_middle_leaves_its_message_to_another(
        self, make_broker: MakeBroker
    ) -> None:
        """Nothing is acknowledged, and the other replica need not wait until it looks idle."""
        first, second = make_broker("writer-1"), make_broker("writer-2")
        began = asyncio.Event()
        seen: list[int] = []

        @first.subscriber("chapters")
        async def never_ends(chapter: Chapter) -> None:
            began.set()
            await asyncio.Event().wait()

        @second.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            seen.append(chapter.number)

        await first.start()
        await first.publish(Chapter(number=1), "chapters")
        await began.wait()
        report = await first.drain(0.05)
        assert (report.finished, report.released) == (0, 1)
        await second.start()
        await eventually(lambda: seen == [1])

    async def test_a_replica_that_comes_back_continues_with_its_own(self, make_broker: MakeBroker) -> None:
        """Its old entries come first, at once, before anything new."""
        first = make_broker("writer-1")
        began = asyncio.Event()

        @first.subscriber("chapters")
        async def never_ends(chapter: Chapter) -> None:
            began.set()
            await asyncio.Event().wait()

        await first.start()
        for number in range(3):
            await first.publish(Chapter(number=number), "chapters")
        await began.wait()
        await first.stop()
        again = make_broker("writer-1")
        seen: list[int] = []

        @again.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            seen.append(chapter.number)

        await again.start()
        await eventually(lambda: seen == [0, 1, 2])
