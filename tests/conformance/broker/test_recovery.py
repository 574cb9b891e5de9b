"""What happens when a consumer, a group, a stream or the server is gone."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis.asyncio import Redis

from control_plane.brokers import BusBroker, BusUnavailable, StreamTransport, open_transport
from control_plane.brokers.memory_transport import MemoryTransport
from control_plane.connections import connect
from tests.conformance.broker.conftest import IMPATIENT, MakeBroker
from tests.support.ledgers import ledger as ledger_of
from tests.support.redis_servers import Server
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

BUS = "novel:bus:chapters"


@contextmanager
def doomed_replica(url: str, replica: str) -> Iterator[subprocess.Popen[str]]:
    """Run a replica that takes two messages and finishes none."""
    command = [sys.executable, "-m", "tests.conformance.broker.doomed", url, replica]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """Read so many lines of what a process prints."""
    assert process.stdout is not None
    async with asyncio.timeout(20.0):
        return sorted([(await asyncio.to_thread(process.stdout.readline)).strip() for _ in range(count)])


def subscribe(broker: BusBroker, **options: int) -> list[int]:
    """Return a list that grows by each chapter's number."""
    seen: list[int] = []

    @broker.subscriber("chapters", **options)  # type: ignore[arg-type]  # all of them are numbers
    async def write(chapter: dict[str, int]) -> None:
        seen.append(chapter["number"])

    return seen


class TestAConsumerThatIsGone:
    async def test_what_a_killed_process_held_is_claimed_by_another(self, redis_url: str) -> None:
        """A real process, a real kill -9; the survivor takes the entries once they look idle."""
        transport = await open_transport(redis_url)
        survivor = BusBroker(
            app="novel", component="writer", replica="writer-2", transport=transport, settings=IMPATIENT
        )
        seen = subscribe(survivor)
        with doomed_replica(redis_url, "writer-1") as process:
            for number in range(2):
                await survivor.publish({"number": number}, "chapters")
            assert await lines(process, 2) == ["got 0", "got 1"]
            process.kill()
        await survivor.start()
        await eventually(lambda: sorted(seen) == [0, 1])
        await eventually(lambda: acknowledged(transport, 2))
        await survivor.stop()
        await transport.close()

    async def test_a_message_that_kills_its_process_becomes_a_dead_letter(self, redis_url: str) -> None:
        """The server counts deliveries, so death counts like an error."""
        transport = await open_transport(redis_url)
        broker = BusBroker(
            app="novel", component="writer", replica="writer-1", transport=transport, settings=IMPATIENT
        )
        seen = subscribe(broker, max_deliveries=2)
        await broker.publish({"number": 0}, "chapters")
        for _ in range(2):
            with doomed_replica(redis_url, "writer-1") as process:
                assert await lines(process, 1) == ["got 0"]
        await broker.start()
        (dead,) = await eventually(lambda: transport.range("novel:dead:chapters"))
        assert dead.fields["error"] == "Undeliverable: its consumer ended 2 times while handling it"
        assert seen == []
        await broker.stop()
        await transport.close()

    async def test_a_silent_consumers_entries_are_claimed(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """The same in every transport: a reader that never gives a sign of life again."""
        broker = make_broker("writer-2")
        seen = subscribe(broker)
        await transport.ensure_group(BUS, "writer")
        for number in range(3):
            await broker.publish({"number": number}, "chapters")
        assert len(await transport.read_group(BUS, "writer", "writer-1", count=2, block_s=0.0)) == 2
        await broker.start()
        await eventually(lambda: sorted(seen) == [0, 1, 2])

    async def test_a_slow_handler_is_renewed_and_not_claimed(self, make_broker: MakeBroker) -> None:
        """A handler may take longer than the time after which silent consumers lose their entries."""
        first, second = make_broker("writer-1"), make_broker("writer-2")
        began = asyncio.Event()

        @first.subscriber("chapters")
        async def slow(chapter: dict[str, int]) -> None:
            began.set()
            await asyncio.sleep(IMPATIENT.claim_idle_s * 2.5)

        stolen = subscribe(second)
        await first.start()
        await first.publish({"number": 1}, "chapters")
        await began.wait()
        await second.start()
        report = await first.drain(10.0)
        assert (report.finished, stolen) == (1, [])


class TestAStreamThatIsGone:
    async def test_a_deleted_stream_is_made_anew_under_a_running_consumer(
        self, make_broker: MakeBroker, transport: StreamTransport, bus_url: str
    ) -> None:
        """What is published afterwards is delivered, from the first message, and the ledger begins anew."""
        broker = make_broker()
        seen = subscribe(broker)
        await broker.start()
        await broker.publish({"number": 1}, "chapters")
        await eventually(lambda: acknowledged(transport, 1))
        await delete(transport, bus_url)
        for number in (2, 3):
            await broker.publish({"number": number}, "chapters")
        await eventually(lambda: seen == [1, 2, 3])
        await eventually(lambda: acknowledged(transport, 2))
        info = await transport.info(BUS)
        assert info is not None
        assert info.accepted == 2

    async def test_a_destroyed_group_is_made_anew(self, redis_url: str) -> None:
        """It begins at the first entry there is: messages may come twice, none is lost."""
        transport = await open_transport(redis_url)
        broker = BusBroker(
            app="novel", component="writer", replica="writer-1", transport=transport, settings=IMPATIENT
        )
        seen = subscribe(broker)
        await broker.start()
        await broker.publish({"number": 1}, "chapters")
        await eventually(lambda: seen == [1])
        async with connect(redis_url) as client:
            await client.xgroup_destroy(BUS, "writer")
        await broker.publish({"number": 2}, "chapters")
        await eventually(lambda: set(seen) == {1, 2})
        await broker.stop()
        await transport.close()


class TestAServerThatIsGone:
    async def test_a_restart_under_a_running_consumer_loses_nothing(self, own_server: Server) -> None:
        """Published before, during and after; the consumer reconnects by itself."""
        transport = await open_transport(own_server.url)
        broker = BusBroker(
            app="novel", component="writer", replica="writer-1", transport=transport, settings=IMPATIENT
        )
        seen = subscribe(broker)
        await broker.start()
        for number in range(10):
            await broker.publish({"number": number}, "chapters")
        async with asyncio.TaskGroup() as tasks:
            own_server.kill()
            tasks.create_task(broker.publish({"number": 10}, "chapters"))
            await eventually(lambda: not transport.connected)
            await asyncio.to_thread(own_server.start)
        await broker.publish({"number": 11}, "chapters")
        await eventually(lambda: set(seen) == set(range(12)), 10.0)
        assert transport.connected
        await broker.stop()
        await transport.close()

    async def test_the_first_command_after_a_restart_succeeds(self, own_server: Server) -> None:
        """A connection that the server has closed meanwhile is noticed before it is used."""
        transport = await open_transport(own_server.url)
        entry_id = await transport.append_log("novel:ctl:events", {"type": "x"}, max_len=10)
        await asyncio.to_thread(own_server.restart)
        await asyncio.sleep(0)  # lets the loop see the end of file
        assert await transport.last_id("novel:ctl:events") == entry_id
        assert await transport.tail({"novel:ctl:events": "0-0"}, count=1, block_s=0.0)
        await transport.close()

    async def test_a_flushed_server_goes_on_from_nothing(self, redis_url: str) -> None:
        transport = await open_transport(redis_url)
        broker = BusBroker(
            app="novel", component="writer", replica="writer-1", transport=transport, settings=IMPATIENT
        )
        seen = subscribe(broker)
        await broker.start()
        async with connect(redis_url) as client:
            await client.flushall()
            await client.script_flush()
        await broker.publish({"number": 1}, "chapters")
        await eventually(lambda: seen == [1])
        await broker.stop()
        await transport.close()

    @pytest.mark.parametrize("holder", ["writer-1", "writer-9"])
    async def test_an_entry_deleted_while_it_was_held_is_buried(self, redis_url: str, holder: str) -> None:
        """Once, whoever held it: a claim that never comes to an end would keep the reader busy."""
        transport = await open_transport(redis_url)
        broker = BusBroker(
            app="novel", component="writer", replica="writer-1", transport=transport, settings=IMPATIENT
        )
        seen = subscribe(broker)
        await transport.ensure_group(BUS, "writer")
        entry_id = await broker.publish({"number": 1}, "chapters")
        await transport.read_group(BUS, "writer", holder, count=1, block_s=0.0)
        async with connect(redis_url) as client:
            await client.xdel(BUS, entry_id)
        await broker.start()
        await broker.publish({"number": 2}, "chapters")
        await eventually(lambda: acknowledged(transport, 1))
        await eventually(lambda: buried(transport, 1))
        assert seen == [2]
        (dead,) = await transport.range("novel:dead:chapters")
        assert dead.fields["error"] == "Undeliverable: the entry was deleted before it was handled"
        await broker.stop()
        await transport.close()

    async def test_a_read_that_the_server_breaks_off_says_that_the_bus_is_away(self, redis_url: str) -> None:
        """A server that becomes a replica ends blocked reads so; there is no group that could be missing."""
        transport = await open_transport(redis_url)
        reading = asyncio.ensure_future(transport.tail({BUS: "0-0"}, count=1, block_s=5.0))
        async with connect(redis_url) as client:
            await eventually(lambda: unblock(client))
        with pytest.raises(BusUnavailable, match="UNBLOCKED"):
            await reading
        await transport.close()


async def unblock(client: Redis) -> bool:
    """End the blocked read of whoever has one, with an error; return whether there was one."""
    blocked = [int(each["id"]) for each in await client.client_list() if each["cmd"] == "xread"]
    return any([await client.client_unblock(id_, error=True) for id_ in blocked])


async def acknowledged(transport: StreamTransport, count: int) -> bool:
    """Return whether the ledger says so."""
    return (await ledger_of(transport, BUS, "writer")).acknowledged == count


async def buried(transport: StreamTransport, count: int) -> bool:
    """Return whether the ledger says so."""
    return (await ledger_of(transport, BUS, "writer")).dead == count


async def delete(transport: StreamTransport, url: str) -> None:
    """Delete the stream, as somebody with redis-cli would."""
    if isinstance(transport, MemoryTransport):
        transport.delete(BUS)
        return
    client: Redis = connect(url)
    async with client:
        await client.delete(BUS)
