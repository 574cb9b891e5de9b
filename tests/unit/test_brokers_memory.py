"""What only the memory transport can get wrong."""

from __future__ import annotations

import asyncio

import pytest

from control_plane.brokers import StreamFull
from control_plane.brokers.memory_transport import MemoryTransport

pytestmark = pytest.mark.anyio

BUS = "novel:bus:chapters"


async def test_a_reader_cancelled_as_it_is_woken_passes_the_entry_on() -> None:
    """Else the next reader would sleep beside a message until its read ends."""
    transport = MemoryTransport()
    await transport.ensure_group(BUS, "writer")
    first, second = [
        asyncio.ensure_future(transport.read_group(BUS, "writer", name, count=1, block_s=30.0))
        for name in ("one", "two")
    ]
    await asyncio.sleep(0)
    await transport.append(BUS, {"data": "1"}, max_len=10, keep=1)
    first.cancel()
    async with asyncio.timeout(5.0):
        (delivery,) = await second
    assert delivery.entry.fields["data"] == "1"
    assert first.cancelled()


async def test_an_entry_can_be_changed_by_none_of_its_readers() -> None:
    transport = MemoryTransport()
    await transport.append(BUS, {"data": "1"}, max_len=10, keep=1)
    (entry,) = await transport.range(BUS)
    assert dict(entry.fields) == {"data": "1"}
    with pytest.raises(TypeError):
        entry.fields["data"] = "3"  # type: ignore[index]  # on purpose


async def test_readers_leave_nothing_behind() -> None:
    """A wait that timed out or was cancelled is forgotten."""
    transport = MemoryTransport()
    await transport.ensure_group(BUS, "writer")
    for _ in range(5):
        await transport.read_group(BUS, "writer", "one", count=1, block_s=0.001)
        await transport.tail({BUS: "0-0"}, count=1, block_s=0.001)
    assert not transport._tailers[BUS]
    assert not transport._readers[BUS]["writer"]._waiting


async def test_a_broadcast_group_whose_handler_takes_long_is_not_abandoned() -> None:
    """Its subscription has no room to read, but it renews what it holds."""
    times_s = [0.0]
    transport = MemoryTransport(abandoned_s=10.0, now_s=lambda: times_s[-1])
    await transport.ensure_group(BUS, "writer.writer-1")
    entry_id = await transport.append(BUS, {"data": "1"}, max_len=1, keep=1)
    await transport.read_group(BUS, "writer.writer-1", "writer-1", count=1, block_s=0.0)
    for now_s in (6.0, 12.0):
        times_s.append(now_s)
        await transport.renew(BUS, "writer.writer-1", "writer-1", [entry_id])
    with pytest.raises(StreamFull):
        await transport.append(BUS, {"data": "2"}, max_len=1, keep=1)
