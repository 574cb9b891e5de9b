"""Streams in the memory of one process, with the semantics of the Redis ones.

For one event loop; nothing polls: a reader waits for the next entry, a publisher for the next
acknowledgement. A stream is bounded by what its publishers say, like everywhere.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

from control_plane.brokers.errors import GroupMissing, stream_full
from control_plane.brokers.memory_streams import Group, MemoryStream, take
from control_plane.brokers.transport import ABANDONED_S, Delivery, Entry, Fields, StreamInfo

RELEASED_SINCE_S = float("-inf")


class _Waiters:
    """Who waits for something to happen to a stream."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def wait(self, timeout_s: float) -> None:
        """Wait to be woken, at most `timeout_s`."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(woken)
        try:
            async with asyncio.timeout(timeout_s):
                await woken
        except TimeoutError:
            pass
        finally:
            if woken in self._waiting:
                self._waiting.remove(woken)
            elif (
                woken.done()
                and not woken.cancelled()
                and (task := asyncio.current_task())
                and task.cancelling()
            ):
                self.wake_one()  # it was meant for somebody who can act on it

    def wake_one(self) -> None:
        """Wake whoever waits longest."""
        while self._waiting:
            woken = self._waiting.popleft()
            if not woken.done():
                woken.set_result(None)
                return

    def wake_all(self) -> None:
        """Wake everybody."""
        while self._waiting:
            self.wake_one()


class MemoryTransport:
    """A `StreamTransport` in this process."""

    kind = "memory"
    url = "memory://"
    connected = True

    def __init__(
        self, *, abandoned_s: float = ABANDONED_S, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._abandoned_s = abandoned_s
        self._now_s = now_s
        self._streams: dict[str, MemoryStream] = {}
        self._readers: dict[str, dict[str, _Waiters]] = {}
        self._tailers: dict[str, list[asyncio.Event]] = {}
        self._publishers: dict[str, _Waiters] = {}

    # Writing.

    async def append(
        self, stream: str, fields: Fields, *, max_len: int, keep: int, timeout_s: float | None = None
    ) -> str:
        """Append an entry and return its id, at once."""
        log = self._streams.get(stream) or self._stream(stream)
        if len(log.entries) >= max_len:
            log.forget_abandoned(self._now_s() - self._abandoned_s)
            if behind := log.make_room(max_len, keep):
                raise stream_full(stream, max_len, behind=behind)
        entry_id = log.append(fields)
        self._wake(stream)
        return entry_id

    async def append_log(self, stream: str, fields: Fields, *, max_len: int) -> str:
        """Append to a log of the last `max_len` entries; return the id."""
        log = self._stream(stream)
        entry_id = log.append(fields)
        log.trim(max_len)
        self._wake(stream)
        return entry_id

    async def wait_for_room(self, stream: str, *, timeout_s: float) -> None:
        """Wait for the next acknowledgement."""
        await self._publishers.setdefault(stream, _Waiters()).wait(timeout_s)

    async def ensure_group(self, stream: str, group: str) -> None:
        """Make the stream and the group where they are not there."""
        self._stream(stream).ensure_group(group, self._now_s())

    async def ack(self, stream: str, group: str, ids: Sequence[str]) -> int:
        """Acknowledge, and count it in the ledger."""
        found = self._find(stream, group)
        if found is None:
            return 0
        before = len(found.pending)
        for id_ in ids:
            found.pending.pop(id_, None)
        count = before - len(found.pending)
        found.acknowledged += count
        self._room(stream)
        return count

    async def dead_letter(
        self, stream: str, group: str, entry_id: str, *, dead_stream: str, fields: Fields, max_len: int
    ) -> bool:
        """In one step acknowledge an entry and write it to `dead_stream`."""
        found = self._find(stream, group)
        if found is None or found.pending.pop(entry_id, None) is None:
            return False
        found.dead += 1
        await self.append_log(dead_stream, fields, max_len=max_len)
        self._room(stream)
        return True

    # Consuming.

    async def read_group(
        self, stream: str, group: str, consumer: str, *, count: int, block_s: float
    ) -> list[Delivery]:
        """Take up to `count` entries nobody has read."""
        taken = self._read(stream, group, consumer, count)
        if not taken and block_s > 0:
            readers = self._readers.setdefault(stream, {})
            await readers.setdefault(group, _Waiters()).wait(block_s)
            taken = self._read(stream, group, consumer, count)
        return taken

    async def read_own_pending(
        self, stream: str, group: str, consumer: str, *, count: int, except_ids: Collection[str]
    ) -> list[Delivery]:
        """Take again what this consumer holds already."""
        held = self._group(stream, group).held_by(consumer)
        return take(held, consumer, count, except_ids, self._now_s())

    async def claim_idle(
        self, stream: str, group: str, consumer: str, *, min_idle_s: float, count: int
    ) -> list[Delivery]:
        """Take what some consumer has held for `min_idle_s` without a sign of life."""
        now_s = self._now_s()
        held = self._group(stream, group).pending.values()
        return take((one for one in held if now_s - one.since_s >= min_idle_s), consumer, count, (), now_s)

    async def redeliver(self, stream: str, group: str, consumer: str, entry_id: str) -> int:
        """Count another delivery of an entry this consumer holds."""
        one = self._group(stream, group).pending.get(entry_id)
        if one is None or one.consumer != consumer:
            return 0
        one.since_s, one.deliveries = self._now_s(), one.deliveries + 1
        return one.deliveries

    async def renew(self, stream: str, group: str, consumer: str, ids: Collection[str]) -> None:
        """Show a sign of life for entries this consumer holds."""
        found = self._group(stream, group)
        found.read_at_s = self._now_s()  # a reader whose handlers take long reads nothing, and is alive
        for one in found.held_by(consumer):
            if one.entry.id in ids:
                one.since_s = self._now_s()

    async def release(self, stream: str, group: str, consumer: str) -> int:
        """Give back everything the consumer holds."""
        held = list(self._group(stream, group).held_by(consumer))
        for one in held:
            one.since_s = RELEASED_SINCE_S
        return len(held)

    # Looking.

    async def tail(
        self, positions: Mapping[str, str], *, count: int, block_s: float
    ) -> list[tuple[str, Entry]]:
        """Read what follows the given ids."""
        found = self._after(positions, count)
        if not found and block_s > 0:
            await self._wait_for_any(positions, block_s)
            found = self._after(positions, count)
        return found

    async def range(
        self, stream: str, *, start: str = "-", end: str = "+", count: int = 100, reverse: bool = False
    ) -> list[Entry]:
        """Return entries from `start` to `end`, both inclusive."""
        log = self._streams.get(stream)
        return log.between(start, end, count, reverse=reverse) if log else []

    async def newest(
        self, stream: str, *, where: Mapping[str, Collection[str]], count: int, after: str = "0-0"
    ) -> list[Entry]:
        """Return the newest `count` entries of which each field named has one of the values given."""
        log = self._streams.get(stream)
        every = log.after(after, len(log.entries))[::-1] if log else []
        right = (e for e in every if all(e.fields.get(name) in values for name, values in where.items()))
        return list(islice(right, count))[::-1]

    async def last_id(self, stream: str) -> str:
        """Return the id of the newest entry ever appended."""
        log = self._streams.get(stream)
        return log.last_id if log else "0-0"

    async def info(self, stream: str) -> StreamInfo | None:
        """Describe a stream."""
        log = self._streams.get(stream)
        if log is None:
            return None
        return StreamInfo(stream, len(log.entries), log.accepted, log.last_id, log.describe_groups())

    async def streams(self, prefix: str) -> list[str]:
        """Return the names of the streams that begin with `prefix`."""
        return sorted(name for name in self._streams if name.startswith(prefix))

    async def ping(self) -> None:
        """Return at once."""

    async def close(self) -> None:
        """Forget everything."""
        self._streams.clear()

    def delete(self, stream: str) -> None:
        """Delete a stream and its groups, as DEL does."""
        del self._streams[stream]
        for readers in self._readers.get(stream, {}).values():
            readers.wake_all()

    # How it works.

    def _stream(self, stream: str) -> MemoryStream:
        log = self._streams.get(stream)
        if log is None:
            log = self._streams[stream] = MemoryStream()
        return log

    def _wake(self, stream: str) -> None:
        """Wake those who wait for an entry."""
        if stream in self._readers:
            for readers in self._readers[stream].values():
                readers.wake_one()
        if stream in self._tailers:
            for event in self._tailers[stream]:
                event.set()

    def _find(self, stream: str, group: str) -> Group | None:
        log = self._streams.get(stream)
        return log.groups.get(group) if log is not None else None

    def _group(self, stream: str, group: str) -> Group:
        found = self._find(stream, group)
        if found is None:
            raise GroupMissing(f"no group '{group}' of stream '{stream}'")
        return found

    def _read(self, stream: str, group: str, consumer: str, count: int) -> list[Delivery]:
        found = self._group(stream, group)
        return self._streams[stream].read(found, consumer, count, self._now_s())

    def _after(self, positions: Mapping[str, str], count: int) -> list[tuple[str, Entry]]:
        return [
            (stream, entry)
            for stream, position in positions.items()
            if (log := self._streams.get(stream))
            for entry in log.after(position, count)
        ]

    async def _wait_for_any(self, streams: Collection[str], timeout_s: float) -> None:
        event = asyncio.Event()
        for stream in streams:
            self._tailers.setdefault(stream, []).append(event)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            for stream in streams:
                self._tailers[stream].remove(event)

    def _room(self, stream: str) -> None:
        if publishers := self._publishers.get(stream):
            publishers.wake_all()
