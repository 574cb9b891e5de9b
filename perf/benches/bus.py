"""The bus, one message at a time and under load: FastStream's API over ours, over its own, and without it.

Every system runs the same handler on uvloop in this process, over memory and over a real Valkey on a
Unix socket. FastStream has no bus in memory; its floor is what its own tests use (`TestRedisBroker`),
which calls the handler inside `publish`: no queue, no task, nothing kept. FastStream, redis-py and we
acknowledge after the handler; FastStream and redis-py one message at a time.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvloop
from faststream.redis import RedisBroker, StreamSub, TestRedisBroker
from pydantic import BaseModel
from redis.asyncio import Redis

from control_plane.brokers import BusBroker, open_transport
from perf.record import Record
from tests.support.redis_servers import running_server

STREAM, GROUP, CONSUMER = "chapters", "editor", "editor-1"
WARM_UP = 100
ONE_BY_ONE = 1000
UNDER_LOAD = 3000
PUBLISHERS = 64
READ_AT_ONCE = 64
BLOCK_MS = 1000
LIMIT_S = 30.0
MEMORY_URL = "memory://"


class Chapter(BaseModel):
    """What is published."""

    story_id: str
    number: int
    text: str


Publish = Callable[[Chapter], Awaitable[Any]]
System = Callable[[str, "Inbox"], AbstractAsyncContextManager[Publish]]


class Inbox:
    """The handler: counts, notes when the latest message came, and tells whoever waits for it."""

    def __init__(self) -> None:
        self.entered_s = 0.0
        self._left = 0
        self._all_here: asyncio.Future[None] | None = None

    def expect(self, count: int) -> asyncio.Future[None]:
        """Return a future that is done when `count` more messages have come."""
        self._left = count
        self._all_here = asyncio.get_running_loop().create_future()
        return self._all_here

    async def take(self, chapter: Chapter) -> None:
        """Handle one message."""
        self.entered_s = time.perf_counter()
        self._left -= 1
        if self._left == 0 and self._all_here is not None:
            self._all_here.set_result(None)


def measure(record: Record) -> None:
    """Run one round: latency and throughput of every system, over memory and over Valkey."""
    _measure_path(record, "memory", MEMORY_URL, {"coplane": coplane, "faststream": faststream_dispatch})
    with tempfile.TemporaryDirectory() as folder, running_server("valkey", Path(folder)) as server:
        systems = {"coplane": coplane, "faststream": faststream, "redis-py": redis_py}
        _measure_path(record, "redis", server.url, systems)


# The systems.


@asynccontextmanager
async def coplane(url: str, inbox: Inbox) -> AsyncIterator[Publish]:
    """Run the broker that components get."""
    transport = await open_transport(url)
    broker = BusBroker(app="coplane", component=GROUP, replica=CONSUMER, transport=transport)
    broker.subscriber(STREAM)(inbox.take)

    async def publish(chapter: Chapter) -> None:
        await broker.publish(chapter, STREAM)

    await broker.start()
    try:
        yield publish
    finally:
        await broker.stop()
        await transport.close()


@asynccontextmanager
async def faststream(url: str, inbox: Inbox) -> AsyncIterator[Publish]:
    """Run FastStream's own Redis broker; like ours, without a log line for each message."""
    broker = _faststream_broker(url, f"faststream-{STREAM}", inbox)
    await broker.start()
    try:
        yield _publish_through(broker, f"faststream-{STREAM}")
    finally:
        await broker.stop()


@asynccontextmanager
async def faststream_dispatch(_url: str, inbox: Inbox) -> AsyncIterator[Publish]:
    """Run FastStream's dispatch alone."""
    broker = _faststream_broker("redis://nobody", STREAM, inbox)
    async with TestRedisBroker(broker, connect_only=False):
        yield _publish_through(broker, STREAM)


@asynccontextmanager
async def redis_py(url: str, inbox: Inbox) -> AsyncIterator[Publish]:
    """Run a loop written by hand."""
    stream = f"plain-{STREAM}"
    # No time limit of redis-py's own: under it, Python 3.11 may lose the cancellation at the end.
    client = Redis.from_url(url, decode_responses=True, socket_timeout=None)
    await client.xgroup_create(stream, GROUP, id="0", mkstream=True)

    async def publish(chapter: Chapter) -> None:
        await client.xadd(stream, {"data": chapter.model_dump_json()})

    consumer = asyncio.create_task(_consume(client, stream, inbox))
    try:
        yield publish
    finally:
        consumer.cancel()
        with suppress(asyncio.CancelledError):
            await consumer
        await client.aclose()


def _faststream_broker(url: str, stream: str, inbox: Inbox) -> RedisBroker:
    broker = RedisBroker(url, logger=None)  # type: ignore[arg-type]  # its documented "no log"
    broker.subscriber(stream=StreamSub(stream, group=GROUP, consumer=CONSUMER))(inbox.take)
    return broker


def _publish_through(broker: RedisBroker, stream: str) -> Publish:
    async def publish(chapter: Chapter) -> None:
        await broker.publish(chapter, stream=stream)

    return publish


async def _consume(client: Redis, stream: str, inbox: Inbox) -> None:
    while True:
        answer: Any = await client.xreadgroup(
            GROUP, CONSUMER, {stream: ">"}, count=READ_AT_ONCE, block=BLOCK_MS
        )
        for _, entries in answer:
            for entry_id, fields in entries:
                await inbox.take(Chapter.model_validate_json(fields["data"]))
                await client.xack(stream, GROUP, entry_id)


# The measurements.


def _measure_path(record: Record, path: str, url: str, systems: Mapping[str, System]) -> None:
    for name, system in systems.items():
        gc.collect()  # what the system before left behind is not this one's to clear
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            p50_us, per_s = runner.run(_measure_one(system, url))
        record.add(f"{path}_p50_us", name, p50_us)
        record.add(f"{path}_per_s", name, per_s)


async def _measure_one(system: System, url: str) -> tuple[float, float]:
    inbox = Inbox()
    async with asyncio.timeout(LIMIT_S), system(url, inbox) as publish:
        await _one_by_one(publish, inbox, WARM_UP)
        latencies_s = await _one_by_one(publish, inbox, ONE_BY_ONE)
        took_s = await _under_load(publish, inbox, UNDER_LOAD)
    return statistics.median(latencies_s) * 1e6, UNDER_LOAD / took_s


async def _one_by_one(publish: Publish, inbox: Inbox, count: int) -> list[float]:
    """Return how long each message took from just before its publishing to its handler."""
    latencies_s = []
    for number in range(count):
        here = inbox.expect(1)
        chapter = _chapter(number)
        began_s = time.perf_counter()
        await publish(chapter)
        await here
        latencies_s.append(inbox.entered_s - began_s)
    return latencies_s


async def _under_load(publish: Publish, inbox: Inbox, count: int) -> float:
    """Return the time from the first publishing to the last handling."""
    here = inbox.expect(count)
    chapters = iter([_chapter(number) for number in range(count)])

    async def publish_some() -> None:
        for chapter in chapters:  # shared: each chapter goes to one publisher
            await publish(chapter)

    began_s = time.perf_counter()
    async with asyncio.TaskGroup() as publishers:
        for _ in range(PUBLISHERS):
            publishers.create_task(publish_some())
    await here
    return inbox.entered_s - began_s


def _chapter(number: int) -> Chapter:
    return Chapter(story_id="story-1", number=number, text="It was a dark night; " * 10)
