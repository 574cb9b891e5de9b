"""Streams in Redis 7 or newer, or Valkey.

Commands share one connection and go out in batches; a read that waits has a connection of its own.
What must not come apart happens in one Lua script.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import NoScriptError, RedisError

from control_plane.brokers import redis_scripts as scripts
from control_plane.brokers.errors import BusUnavailable, GroupMissing, stream_full
from control_plane.brokers.redis_lines import BlockingLines, SharedLine
from control_plane.brokers.redis_scripts import Script
from control_plane.brokers.transport import (
    ABANDONED_S,
    Delivery,
    Entry,
    Fields,
    GroupInfo,
    StreamInfo,
)
from control_plane.connections import Dialer, bus_error, redact

RELEASED_IDLE_S = 1_000_000.0
SCANNED_AT_ONCE = 1000
# The server answers nobody else meanwhile: about 2 ms. Reading 10,000 heartbeats here would take 650 ms.
LOOKED_AT_ONCE = 500


class RedisTransport:
    """A `StreamTransport` over Redis or Valkey."""

    def __init__(self, url: str, *, abandoned_s: float = ABANDONED_S) -> None:
        dial = Dialer(url)
        self._secret_url = url
        self._url = redact(url)
        self._abandoned_s = abandoned_s
        self._kind = ""
        self._connected = False
        self._commands = SharedLine(dial)
        self._reads = BlockingLines(dial)

    @property
    def kind(self) -> str:
        """Return redis or valkey; redis until the server has been asked anything."""
        return self._kind or "redis"

    @property
    def url(self) -> str:
        """Return the address without the password."""
        return self._url

    @property
    def connected(self) -> bool:
        """Return whether the server answered when it was last asked."""
        return self._connected

    # Writing.

    async def append(
        self, stream: str, fields: Fields, *, max_len: int, keep: int, timeout_s: float | None = None
    ) -> str:
        """Append an entry and return its id."""
        keys, bounds = (stream, ledger_key(stream)), (max_len, keep, _ms(self._abandoned_s))
        async with asyncio.timeout(timeout_s):
            answer = await self._run(scripts.APPEND, keys, *bounds, *_flat(fields))
        if isinstance(answer, list):
            raise stream_full(stream, max_len, behind=answer[0])
        return str(answer)

    async def append_log(self, stream: str, fields: Fields, *, max_len: int) -> str:
        """Append to a log of about the last `max_len` entries; return the id."""
        return str(await self._ask("XADD", stream, "MAXLEN", "~", max_len, "*", *_flat(fields)))

    async def wait_for_room(self, stream: str, *, timeout_s: float) -> None:
        """Wait for `timeout_s`: the server tells nobody that there is room."""
        await asyncio.sleep(timeout_s)

    async def ensure_group(self, stream: str, group: str) -> None:
        """Make the stream and the group where they are not there."""
        await self._run(scripts.ENSURE_GROUP, (stream, ledger_key(stream)), group)

    async def ack(self, stream: str, group: str, ids: Sequence[str]) -> int:
        """Acknowledge, and count it in the ledger."""
        return int(await self._run(scripts.ACK, (stream, ledger_key(stream)), group, *ids))

    async def dead_letter(
        self, stream: str, group: str, entry_id: str, *, dead_stream: str, fields: Fields, max_len: int
    ) -> bool:
        """In one step acknowledge an entry and write it to `dead_stream`."""
        keys = (stream, ledger_key(stream), dead_stream)
        return bool(await self._run(scripts.DEAD_LETTER, keys, group, entry_id, max_len, *_flat(fields)))

    # Consuming.

    async def read_group(
        self, stream: str, group: str, consumer: str, *, count: int, block_s: float
    ) -> list[Delivery]:
        """Take up to `count` entries nobody has read."""
        answer = await self._wait(
            block_s,
            "XREADGROUP",
            "GROUP",
            group,
            consumer,
            "COUNT",
            count,
            *_block(block_s),
            "STREAMS",
            stream,
            ">",
        )
        return [Delivery(entry) for _, entries in answer or () for entry in _entries(entries)]

    async def read_own_pending(
        self, stream: str, group: str, consumer: str, *, count: int, except_ids: Collection[str]
    ) -> list[Delivery]:
        """Take again what this consumer holds already."""
        return await self._claim(stream, group, consumer, 0, count, consumer, *except_ids)

    async def claim_idle(
        self, stream: str, group: str, consumer: str, *, min_idle_s: float, count: int
    ) -> list[Delivery]:
        """Take what some consumer has held for `min_idle_s` without a sign of life."""
        return await self._claim(stream, group, consumer, _ms(min_idle_s), count, "")

    async def redeliver(self, stream: str, group: str, consumer: str, entry_id: str) -> int:
        """Count another delivery of an entry this consumer holds."""
        return int(await self._run(scripts.REDELIVER, (stream,), group, consumer, entry_id))

    async def renew(self, stream: str, group: str, consumer: str, ids: Collection[str]) -> None:
        """Show a sign of life for entries this consumer holds."""
        await self._run(scripts.RENEW, (stream,), group, consumer, *ids)

    async def release(self, stream: str, group: str, consumer: str) -> int:
        """Give back everything the consumer holds."""
        return int(await self._run(scripts.RELEASE, (stream,), group, consumer, _ms(RELEASED_IDLE_S)))

    async def _claim(self, stream: str, group: str, consumer: str, *args: Any) -> list[Delivery]:
        answer = await self._run(scripts.CLAIM, (stream,), group, consumer, *args)
        return [Delivery(Entry(id_, _pairs(flat)), int(count), counted=False) for id_, flat, count in answer]

    # Looking.

    async def tail(
        self, positions: Mapping[str, str], *, count: int, block_s: float
    ) -> list[tuple[str, Entry]]:
        """Read what follows the given ids."""
        answer = await self._wait(
            block_s, "XREAD", "COUNT", count, *_block(block_s), "STREAMS", *positions, *positions.values()
        )
        return [(stream, entry) for stream, entries in answer or () for entry in _entries(entries)]

    async def range(
        self, stream: str, *, start: str = "-", end: str = "+", count: int = 100, reverse: bool = False
    ) -> list[Entry]:
        """Return entries from `start` to `end`, both inclusive."""
        command = ("XREVRANGE", stream, end, start) if reverse else ("XRANGE", stream, start, end)
        return _entries(await self._ask(*command, "COUNT", count))

    async def newest(
        self, stream: str, *, where: Mapping[str, Collection[str]], count: int, after: str = "0-0"
    ) -> list[Entry]:
        """Return the newest `count` entries of which each field named has one of the values given."""
        wanted = json.dumps({name: dict.fromkeys(values, 1) for name, values in where.items()})
        found: list[Entry] = []
        end = "+"
        while end and len(found) < count:
            end, page = await self._run(
                scripts.NEWEST, (stream,), end, f"({after}", LOOKED_AT_ONCE, wanted, count - len(found)
            )
            found += _entries(page)
        return found[::-1]

    async def last_id(self, stream: str) -> str:
        """Return the id of the newest entry ever appended."""
        try:
            return str(_pairs(await self._ask("XINFO", "STREAM", stream))["last-generated-id"])
        except _NoSuchKey:
            return "0-0"

    async def info(self, stream: str) -> StreamInfo | None:
        """Describe a stream."""
        answer = await self._run(scripts.DESCRIBE, (stream, ledger_key(stream)))
        if answer is None:
            return None
        described, groups, ledger, lags = _pairs(answer[0]), answer[1], _pairs(answer[2]), answer[3]
        accepted = int(described["entries-added"])
        return StreamInfo(
            stream,
            int(described["length"]),
            accepted,
            str(described["last-generated-id"]),
            tuple(
                _group_info(_pairs(group), int(lag), accepted, ledger)
                for group, lag in zip(groups, lags, strict=True)
            ),
        )

    async def streams(self, prefix: str) -> list[str]:
        """Return the names of the streams that begin with `prefix`."""
        pattern = "".join(f"\\{char}" if char in "*?[]\\" else char for char in prefix) + "*"
        cursor, found = "0", set[str]()
        while True:
            cursor, names = await self._ask(
                "SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED_AT_ONCE, "TYPE", "stream"
            )
            found.update(names)
            if cursor == "0":
                return sorted(found)

    async def ping(self) -> None:
        """Return when the server answers."""
        await self._ask("PING")

    async def close(self) -> None:
        """Close every connection."""
        self._connected = False
        await self._commands.close()
        await self._reads.close()

    # Asking.

    async def _run(self, script: Script, keys: Sequence[str], *args: Any) -> Any:
        rest = (len(keys), *keys, *args)
        try:
            return await self._ask("EVALSHA", script.sha, *rest)
        except NoScriptError:
            return await self._ask("EVAL", script.source, *rest)

    async def _ask(self, *command: Any) -> Any:
        try:
            answer = await self._commands.ask(*command)
        except NoScriptError:
            raise
        except (RedisError, OSError) as exc:
            raise self._explain(exc) from exc
        self._connected = True
        if not self._kind:
            await self._learn_kind()
        return answer

    async def _learn_kind(self) -> None:
        self._kind = "redis"
        with suppress(RedisError, OSError):  # a user who may not ask is served all the same
            if "valkey_version" in await self._commands.ask("INFO", "server"):
                self._kind = "valkey"

    async def _wait(self, block_s: float, *command: Any) -> Any:
        try:
            answer = await self._reads.ask(*command, block_s=block_s)
        except (RedisError, OSError) as exc:
            raise self._explain(exc) from exc
        self._connected = True
        return answer

    def _explain(self, exc: Exception) -> Exception:
        why = str(exc)
        if "NOGROUP" in why or "UNBLOCKED the stream" in why:
            return GroupMissing(why)
        if "no such key" in why:
            return _NoSuchKey(why)
        error = bus_error(exc, self._secret_url)
        self._connected = not isinstance(error, BusUnavailable)
        return error


class _NoSuchKey(Exception):
    """The key that was asked about is not there."""


def ledger_key(stream: str) -> str:
    """Return the key of the hash that counts what became of a stream's entries."""
    return f"{stream}:ledger"


def _ms(time_s: float) -> int:
    return round(time_s * 1000)


def _block(block_s: float) -> tuple[Any, ...]:
    # BLOCK 0 would mean for ever.
    return ("BLOCK", _ms(block_s)) if block_s > 0 else ()


def _flat(fields: Fields) -> list[str]:
    return [text for pair in fields.items() for text in pair]


def _pairs(flat: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _entries(raw: Sequence[Any]) -> list[Entry]:
    return [Entry(id_, _pairs(flat or ())) for id_, flat in raw]


def _group_info(group: Mapping[str, Any], lag: int, accepted: int, ledger: Mapping[str, str]) -> GroupInfo:
    name = str(group["name"])
    return GroupInfo(
        name,
        consumers=int(group["consumers"]),
        pending=int(group["pending"]),
        lag=lag,
        accepted=accepted - int(ledger.get(f"{name}:missed", 0)),
        acknowledged=int(ledger.get(f"{name}:acked", 0)),
        dead=int(ledger.get(f"{name}:dead", 0)),
    )
