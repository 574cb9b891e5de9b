"""The transports themselves: what the delivery loop and the control plane rely on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from contracts.errors import BusError
from control_plane.brokers import GroupMissing, StreamTransport, open_transport
from tests.support.ledgers import ledger as ledger_of
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

BUS = "novel:bus:chapters"


async def fill(transport: StreamTransport, count: int, stream: str = BUS) -> list[str]:
    """Append so many entries; return their ids."""
    return [await transport.append(stream, {"data": str(n)}, max_len=100, keep=10) for n in range(count)]


class TestLogs:
    async def test_a_log_forgets_its_oldest_entries(self, transport: StreamTransport) -> None:
        """Servers trim whole nodes of about a hundred entries, so the bound is an approximate one."""
        for n in range(1000):
            await transport.append_log("novel:ctl:events", {"n": str(n)}, max_len=100)
        info = await transport.info("novel:ctl:events")
        assert info is not None
        assert 100 <= info.length <= 300
        assert info.accepted == 1000

    async def test_a_group_reads_what_is_left_of_a_log(self, transport: StreamTransport) -> None:
        """A log is trimmed without asking its readers."""
        await transport.ensure_group("novel:ctl:requests", "control-plane")
        for n in range(1000):
            await transport.append_log("novel:ctl:requests", {"n": str(n)}, max_len=100)
        info = await transport.info("novel:ctl:requests")
        taken = await transport.read_group("novel:ctl:requests", "control-plane", "one", count=999, block_s=0)
        assert info is not None
        assert [one.entry.fields["n"] for one in taken] == [str(n) for n in range(1000 - info.length, 1000)]

    async def test_what_cannot_be_sent_fails_its_caller_alone(self, redis_url: str) -> None:
        """Commands of many callers go out together."""
        transport = await open_transport(redis_url)
        payloads: list[Any] = [object(), "good"]
        async with asyncio.timeout(10.0):
            bad, good = await asyncio.gather(
                *(transport.append_log(BUS, {"data": data}, max_len=9) for data in payloads),
                return_exceptions=True,
            )
        assert isinstance(bad, BusError)
        assert bad.code == "E4003"
        assert good == await transport.last_id(BUS)
        await transport.close()

    async def test_a_range_reads_both_ways(self, transport: StreamTransport) -> None:
        ids = await fill(transport, 5)
        assert [entry.id for entry in await transport.range(BUS)] == ids
        assert [entry.id for entry in await transport.range(BUS, count=2, reverse=True)] == [ids[4], ids[3]]
        assert [entry.id for entry in await transport.range(BUS, start=ids[1], end=ids[3], count=2)] == ids[
            1:3
        ]
        assert await transport.range("novel:bus:nothing") == []

    async def test_the_newest_that_are_asked_for_are_found_behind_many_others(
        self, transport: StreamTransport
    ) -> None:
        """Over several pages; an entry without the field is not one that is asked for."""
        ids = [
            await transport.append_log(BUS, {"type": kind, "n": str(n)}, max_len=10_000)
            for n, kind in enumerate(["a", "b", "c", *["beat"] * 1_200, "a"])
        ]
        await transport.append_log(BUS, {"n": "odd"}, max_len=10_000)

        async def found(*types: str, **more: Any) -> list[str]:
            return [e.id for e in await transport.newest(BUS, where={"type": types}, **more)]

        assert await found("a", "b", count=9) == [ids[0], ids[1], ids[-1]]
        assert await found("a", "b", count=2) == [ids[1], ids[-1]]
        assert await found("a", "b", count=9, after=ids[0]) == [ids[1], ids[-1]]
        assert await found("beat", count=2) == ids[-3:-1]
        assert await found("nothing", count=2) == []
        both = await transport.newest(BUS, where={"type": ["a"], "n": ["1", "0"]}, count=9)
        assert [e.id for e in both] == [ids[0]]
        assert await transport.newest("novel:bus:nothing", where={}, count=1) == []

    async def test_the_last_id_outlives_its_entry(self, transport: StreamTransport) -> None:
        assert await transport.last_id(BUS) == "0-0"
        ids = await fill(transport, 3)
        assert await transport.last_id(BUS) == ids[-1]

    async def test_streams_are_found_by_prefix(self, transport: StreamTransport) -> None:
        """Ledgers and other keys are not taken for streams, and a pattern's characters are plain text."""
        for stream in (BUS, "novel:bus:a*b", "novel:dead:chapters", "novella:bus:chapters"):
            await fill(transport, 1, stream)
        await transport.ensure_group(BUS, "writer")
        assert await transport.streams("novel:bus:") == ["novel:bus:a*b", BUS]
        assert await transport.streams("novel:bus:a*") == ["novel:bus:a*b"]
        assert await transport.info("novel:bus:nothing") is None


class TestTailing:
    async def test_reads_what_follows_in_several_streams(self, transport: StreamTransport) -> None:
        ids = await fill(transport, 3)
        await fill(transport, 1, "novel:bus:drafts")
        found = await transport.tail({BUS: ids[0], "novel:bus:drafts": "0-0"}, count=10, block_s=0.0)
        assert [(stream, entry.fields["data"]) for stream, entry in found] == [
            (BUS, "1"),
            (BUS, "2"),
            ("novel:bus:drafts", "0"),
        ]

    async def test_wakes_at_the_next_entry(self, transport: StreamTransport) -> None:
        async with asyncio.TaskGroup() as tasks:
            tail = tasks.create_task(transport.tail({BUS: "0-0"}, count=10, block_s=30.0))
            await asyncio.sleep(0.05)
            async with asyncio.timeout(5.0):
                await fill(transport, 1)
                await tail
        assert len(tail.result()) == 1

    async def test_ends_empty_after_its_time(self, transport: StreamTransport) -> None:
        assert await transport.tail({BUS: "0-0"}, count=10, block_s=0.05) == []
        assert await transport.tail({BUS: "0-0"}, count=10, block_s=0.0) == []


class TestGroups:
    async def test_reading_without_a_group_says_so(self, transport: StreamTransport) -> None:
        with pytest.raises(GroupMissing):
            await transport.read_group(BUS, "writer", "one", count=1, block_s=0.0)
        with pytest.raises(GroupMissing):
            await transport.redeliver(BUS, "writer", "one", "1-1")
        assert await transport.ack(BUS, "writer", ["1-1"]) == 0

    async def test_making_a_group_twice_keeps_its_place(self, transport: StreamTransport) -> None:
        await transport.ensure_group(BUS, "writer")
        await fill(transport, 2)
        await transport.read_group(BUS, "writer", "one", count=1, block_s=0.0)
        await transport.ensure_group(BUS, "writer")
        (delivery,) = await transport.read_group(BUS, "writer", "one", count=5, block_s=0.0)
        assert delivery.entry.fields["data"] == "1"

    async def test_one_entry_wakes_one_reader(self, transport: StreamTransport) -> None:
        await transport.ensure_group(BUS, "writer")
        readers = [
            asyncio.ensure_future(transport.read_group(BUS, "writer", f"w-{n}", count=5, block_s=1.0))
            for n in range(3)
        ]
        await asyncio.sleep(0.05)
        await fill(transport, 1)
        taken = await asyncio.gather(*readers)
        assert sorted(map(len, taken)) == [0, 0, 1]

    async def test_a_cancelled_read_loses_nothing(self, transport: StreamTransport) -> None:
        """Whatever the server had handed out is pending under the consumer's name."""
        await transport.ensure_group(BUS, "writer")
        for _ in range(20):
            reader = asyncio.ensure_future(transport.read_group(BUS, "writer", "one", count=10, block_s=5.0))
            await asyncio.sleep(0)
            await fill(transport, 1)
            reader.cancel()
            await asyncio.wait({reader})
            if not reader.cancelled():
                await transport.ack(BUS, "writer", [each.entry.id for each in reader.result()])
        await eventually(lambda: everything_taken(transport))
        ledger = await ledger_of(transport, BUS, "writer")
        pending = await transport.read_own_pending(BUS, "writer", "one", count=100, except_ids=())
        assert ledger.acknowledged + len(pending) == 20


async def everything_taken(transport: StreamTransport) -> bool:
    """Take what nobody has read; return whether there is nothing more."""
    await transport.read_group(BUS, "writer", "one", count=100, block_s=0.0)
    info = await transport.info(BUS)
    return info is not None and info.groups[0].lag == 0


class TestHolding:
    @pytest.fixture
    async def ids(self, transport: StreamTransport) -> list[str]:
        """Let consumer `one` hold three entries."""
        await transport.ensure_group(BUS, "writer")
        ids = await fill(transport, 3)
        await transport.read_group(BUS, "writer", "one", count=3, block_s=0.0)
        return ids

    async def test_own_entries_come_again_without_counting(
        self, transport: StreamTransport, ids: list[str]
    ) -> None:
        again = await transport.read_own_pending(BUS, "writer", "one", count=5, except_ids=[ids[0]])
        assert [(each.entry.id, each.deliveries) for each in again] == [(ids[1], 1), (ids[2], 1)]
        assert await transport.read_own_pending(BUS, "writer", "two", count=5, except_ids=()) == []

    async def test_counting_a_delivery_needs_the_entry(
        self, transport: StreamTransport, ids: list[str]
    ) -> None:
        assert await transport.redeliver(BUS, "writer", "one", ids[0]) == 2
        assert await transport.redeliver(BUS, "writer", "one", ids[0]) == 3
        assert await transport.redeliver(BUS, "writer", "two", ids[0]) == 0

    async def test_only_idle_entries_are_claimed(self, transport: StreamTransport, ids: list[str]) -> None:
        assert await transport.claim_idle(BUS, "writer", "two", min_idle_s=60.0, count=5) == []
        await asyncio.sleep(0.3)
        await transport.renew(BUS, "writer", "one", ids[1:])
        claimed = await transport.claim_idle(BUS, "writer", "two", min_idle_s=0.2, count=5)
        assert [(each.entry.id, each.deliveries) for each in claimed] == [(ids[0], 1)]

    async def test_renewing_takes_nothing_back(self, transport: StreamTransport, ids: list[str]) -> None:
        """Once another consumer has it, it is the other's."""
        await transport.claim_idle(BUS, "writer", "two", min_idle_s=0.0, count=1)
        await transport.renew(BUS, "writer", "one", ids)
        assert await transport.redeliver(BUS, "writer", "two", ids[0]) == 2

    async def test_what_is_given_back_is_claimed_at_once(
        self, transport: StreamTransport, ids: list[str]
    ) -> None:
        assert await transport.release(BUS, "writer", "one") == 3
        claimed = await transport.claim_idle(BUS, "writer", "two", min_idle_s=3600.0, count=5)
        assert [each.entry.id for each in claimed] == ids

    async def test_an_entry_is_buried_once(self, transport: StreamTransport, ids: list[str]) -> None:
        bury = {"dead_stream": "novel:dead:chapters", "fields": {"error": "x"}, "max_len": 10}
        assert await transport.dead_letter(BUS, "writer", ids[0], **bury)  # type: ignore[arg-type]
        assert not await transport.dead_letter(BUS, "writer", ids[0], **bury)  # type: ignore[arg-type]
        assert len(await transport.range("novel:dead:chapters")) == 1
        assert await ledger_of(transport, BUS, "writer") == (0, 1)
