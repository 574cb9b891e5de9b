"""Nothing grows without bound, and the ledger adds up."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest

from contracts.errors import BusError
from control_plane.brokers import StreamFull, StreamTransport, open_transport
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.brokers.redis_transport import RedisTransport
from tests.conformance.broker.conftest import IMPATIENT, MakeBroker
from tests.support.ledgers import ledger as ledger_of
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

BUS = "novel:bus:chapters"
SMALL = dataclasses.replace(
    IMPATIENT, max_len=20, keep=5, ahead_max=4, publish_pause_s=0.01, publish_pause_max_s=0.05
)


class TestAFullStream:
    async def test_publishers_wait_for_a_slow_consumer(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """Far more is published than the stream may hold; all of it arrives, and it never holds more."""
        broker = make_broker(settings=SMALL)
        seen: list[int] = []
        lengths: list[int] = []

        @broker.subscriber("chapters")
        async def write(chapter: dict[str, int]) -> None:
            info = await transport.info(BUS)
            assert info is not None
            lengths.append(info.length)
            seen.append(chapter["number"])

        await broker.start()
        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(broker.publish({"number": number}, "chapters", timeout_s=20.0))
        await eventually(lambda: len(seen) == 200)
        assert sorted(seen) == list(range(200))
        assert max(lengths) <= SMALL.max_len

    async def test_a_publisher_gives_up_at_its_deadline(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """The error names the group that is behind; nothing that was accepted is dropped for it."""
        broker = make_broker(settings=SMALL)
        await transport.ensure_group(BUS, "writer")
        for number in range(SMALL.max_len):
            await broker.publish({"number": number}, "chapters")
        with pytest.raises(BusError, match="roup 'writer' has not acknowledged") as refused:
            await broker.publish({"number": 99}, "chapters", timeout_s=0.2)
        assert refused.value.code == "E4004"
        info = await transport.info(BUS)
        assert info is not None
        assert (info.length, info.groups[0].lag) == (SMALL.max_len, SMALL.max_len)

    async def test_what_every_group_has_acknowledged_makes_room(self, transport: StreamTransport) -> None:
        """Down to `keep` readable entries, and never what one of the groups still needs."""
        for group in ("fast", "slow"):
            await transport.ensure_group(BUS, group)
        ids = [await transport.append(BUS, {"data": str(n)}, max_len=10, keep=3) for n in range(10)]
        for group, count in (("fast", 10), ("slow", 4)):
            taken = await transport.read_group(BUS, group, "one", count=count, block_s=0.0)
            await transport.ack(BUS, group, [delivery.entry.id for delivery in taken])
        await transport.append(BUS, {"data": "10"}, max_len=10, keep=3)
        assert [entry.id for entry in await transport.range(BUS)][:-1] == ids[4:]
        rest = await transport.read_group(BUS, "slow", "one", count=10, block_s=0.0)
        await transport.ack(BUS, "slow", [delivery.entry.id for delivery in rest])
        fast = await transport.read_group(BUS, "fast", "one", count=10, block_s=0.0)
        await transport.ack(BUS, "fast", [delivery.entry.id for delivery in fast])
        for n in range(11, 15):
            await transport.append(BUS, {"data": str(n)}, max_len=10, keep=3)
        left = [entry.fields["data"] for entry in await transport.range(BUS)]
        assert left == ["11", "12", "13", "14"]

    async def test_a_pending_entry_is_not_trimmed(self, transport: StreamTransport) -> None:
        await transport.ensure_group(BUS, "writer")
        for n in range(5):
            await transport.append(BUS, {"data": str(n)}, max_len=5, keep=1)
        taken = await transport.read_group(BUS, "writer", "one", count=5, block_s=0.0)
        await transport.ack(BUS, "writer", [delivery.entry.id for delivery in taken[1:]])
        with pytest.raises(StreamFull):
            await transport.append(BUS, {"data": "5"}, max_len=5, keep=1)

    async def test_without_a_group_the_oldest_entries_go(self, transport: StreamTransport) -> None:
        for n in range(12):
            await transport.append(BUS, {"data": str(n)}, max_len=5, keep=2)
        assert [entry.fields["data"] for entry in await transport.range(BUS)] == ["7", "8", "9", "10", "11"]


class TestMessagesThatKeepFailing:
    async def test_do_not_fill_the_memory(self, make_broker: MakeBroker, transport: StreamTransport) -> None:
        """No more than `held_max` are taken while they wait for their retries."""
        settings = dataclasses.replace(IMPATIENT, backoff_s=60.0, backoff_max_s=60.0, held_max=8)
        broker = make_broker(settings=settings)
        tries: list[int] = []

        @broker.subscriber("chapters")
        async def write(chapter: dict[str, int]) -> None:
            tries.append(chapter["number"])
            raise RuntimeError("never")

        for number in range(30):
            await broker.publish({"number": number}, "chapters")
        await broker.start()
        await eventually(lambda: len(tries) == 8)
        report = await broker.drain(5.0)
        assert (tries, report.released) == (list(range(8)), 8)


class TestManyPublishersAtOnce:
    async def test_hundreds_of_publishes_share_the_connection(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        broker = make_broker()
        ids = await asyncio.gather(*(broker.publish({"number": n}, "chapters") for n in range(800)))
        assert len(set(ids)) == 800
        info = await transport.info(BUS)
        assert info is not None
        assert info.length == 800

    async def test_a_cancelled_publisher_harms_no_other(self, make_broker: MakeBroker) -> None:
        """Whether or not the cancelled message got through, every other answer is its own."""
        broker = make_broker()
        async with asyncio.TaskGroup() as tasks:
            published = [tasks.create_task(broker.publish({"number": n}, "chapters")) for n in range(100)]
            await asyncio.sleep(0)
            for task in published[::7]:
                task.cancel()
        ids = [task.result() for task in published if not task.cancelled()]
        assert len(set(ids)) == len(ids)
        assert len(ids) >= 85

    async def test_a_bus_that_is_away_is_an_error_at_the_deadline(self, make_broker: MakeBroker) -> None:
        away = await open_transport("unix:///tmp/ctl-no-such-server.sock")
        broker = make_broker(transport=away)
        with pytest.raises(BusError) as refused:
            await broker.publish({"number": 1}, "chapters", timeout_s=0.2)
        assert refused.value.code == "E4001"
        assert not away.connected
        await away.close()


class TestTheLedger:
    async def test_accepted_is_acknowledged_plus_dead_plus_left(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """At the end of a run with successes, failures, retries, trimming and unread messages."""
        broker = make_broker(settings=dataclasses.replace(SMALL, max_len=40))

        @broker.subscriber("chapters", concurrency=4, max_deliveries=2)
        async def write(chapter: dict[str, int]) -> None:
            await asyncio.sleep(0)
            if chapter["number"] % 5 == 0:
                raise RuntimeError("never")
            if chapter["number"] >= 100:
                await asyncio.Event().wait()

        await broker.start()
        for number in range(100):
            await broker.publish({"number": number}, "chapters")
        await eventually(lambda: counted(transport, 100))
        for number in range(100, 120):
            await broker.publish({"number": number}, "chapters")
        await broker.drain(0.1)
        info = await transport.info(BUS)
        assert info is not None
        (group,) = info.groups
        ledger = await ledger_of(transport, BUS, "writer")
        assert group.accepted == 120
        assert group.left > 0
        assert group.accepted == ledger.acknowledged + ledger.dead + group.left
        assert len(await transport.range("novel:dead:chapters")) == ledger.dead

    async def test_it_adds_up_at_every_moment_of_a_busy_stream(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """Its figures are of one moment, so whoever looks while messages move sees no loss."""
        broker = make_broker()

        @broker.subscriber("chapters", concurrency=4)
        async def write(chapter: dict[str, int]) -> None:
            await asyncio.sleep(0)

        async def publish_all() -> None:
            for number in range(300):
                await broker.publish({"number": number}, "chapters")

        await broker.start()
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(publish_all())
            while not publishing.done():
                info = await transport.info(BUS)
                for group in info.groups if info else ():
                    assert group.accepted == group.acknowledged + group.dead + group.left
                await asyncio.sleep(0)

    async def test_a_group_answers_for_what_was_there_when_it_began(self, transport: StreamTransport) -> None:
        """Entries trimmed before are no loss of its own."""
        for n in range(8):
            await transport.append(BUS, {"data": str(n)}, max_len=5, keep=2)
        await transport.ensure_group(BUS, "late")
        taken = await transport.read_group(BUS, "late", "one", count=10, block_s=0.0)
        await transport.ack(BUS, "late", [delivery.entry.id for delivery in taken[:3]])
        info = await transport.info(BUS)
        assert info is not None
        assert (info.accepted, info.groups[0].accepted, info.groups[0].left) == (8, 5, 2)
        assert await ledger_of(transport, BUS, "late") == (3, 0)


async def counted(transport: StreamTransport, count: int) -> bool:
    """Return whether so many entries are finished, one way or the other."""
    ledger = await ledger_of(transport, BUS, "writer")
    return ledger.acknowledged + ledger.dead >= count


class TestABroadcastGroupThatNobodyReads:
    @pytest.fixture
    async def transport(self, bus_url: str) -> AsyncIterator[StreamTransport]:
        """Open a transport that gives up on broadcast groups after a moment."""
        opened: StreamTransport = (
            MemoryTransport(abandoned_s=0.2)
            if bus_url == "memory://"
            else RedisTransport(bus_url, abandoned_s=0.2)
        )
        yield opened
        await opened.close()

    async def test_is_removed_when_it_is_in_the_way(self, transport: StreamTransport) -> None:
        """Its replica was scaled away; a component's own group is waited for without end."""
        for group in ("writer.writer-9", "writer"):
            await transport.ensure_group(BUS, group)
            await transport.read_group(BUS, group, "one", count=1, block_s=0.0)
        for n in range(5):
            await transport.append(BUS, {"data": str(n)}, max_len=5, keep=1)
        await asyncio.sleep(0.3)
        taken = await transport.read_group(BUS, "writer", "one", count=2, block_s=0.0)
        await transport.ack(BUS, "writer", [each.entry.id for each in taken])
        for n in (5, 6):
            await transport.append(BUS, {"data": str(n)}, max_len=5, keep=1)
        info = await transport.info(BUS)
        assert info is not None
        assert [group.name for group in info.groups] == ["writer"]
        with pytest.raises(StreamFull):
            await transport.append(BUS, {"data": "7"}, max_len=5, keep=1)
