"""Shared state in Redis or Valkey: for every mode with more than one process.

`{app}:state:{key}` holds a value or a hash, as JSON text; `{app}:lease:{name}` a lease;
`{app}:once:{key}` the result of an effect. Each write says on `{app}:state-changes` which key changed,
in the same step.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from redis.exceptions import RedisError

from contracts.state import Change, Json, Lease
from control_plane.stores import scripts
from control_plane.stores.changes import STATE, Reading, Watch
from control_plane.stores.codec import decode, encode, ttl_ms
from control_plane.stores.feed import ChangeFeed
from control_plane.stores.leases import held, run_once
from control_plane.stores.link import RedisLink
from control_plane.stores.redis_leases import RedisLeases

SCAN_COUNT = 500
EXPIRY_MARGIN_S = 0.005  # PTTL is in whole milliseconds

_SPECIAL = re.compile(r"([*?\[\]\\])")


class RedisState:
    """`SharedState` of one application, shared by every process that reaches the same Redis."""

    def __init__(self, app: str, url: str) -> None:
        self.app = app
        self._link = RedisLink(app, url)
        self._feed = ChangeFeed(self._link)
        self.leases = RedisLeases(self._link, self._feed)

    async def close(self) -> None:
        """Close the connections; they are opened again where they are needed."""
        await self._link.close()

    async def get(self, key: str, default: Json = None) -> Json:
        return decode(await self._ask("GET", key), default)

    async def get_many(self, keys: list[str]) -> Mapping[str, Json]:
        if not keys:
            return {}
        texts = await self._link.command("MGET", [STATE + key for key in keys])
        return {key: decode(text) for key, text in zip(keys, texts, strict=True) if text is not None}

    async def set(self, key: str, value: Json, *, ttl_s: float | None = None) -> None:
        expiry = () if ttl_s is None else ("PX", ttl_ms(ttl_s))
        await self._write("SET", key, encode(value), *expiry)

    async def delete(self, key: str) -> bool:
        return bool(await self._write("DEL", key))

    async def compare_and_set(self, key: str, expected: Json, value: Json) -> bool:
        args = (encode(expected), encode(value))
        return bool(await self._link.write(scripts.COMPARE_AND_SET, STATE + key, *args))

    async def increment(self, key: str, by: int = 1) -> int:
        return int(await self._write("INCRBY", key, by))

    async def hash_set(self, key: str, field: str, value: Json) -> bool:
        return bool(await self._write("HSET", key, field, encode(value)))

    async def hash_get(self, key: str, field: str, default: Json = None) -> Json:
        return decode(await self._ask("HGET", key, field), default)

    async def hash_all(self, key: str) -> dict[str, Json]:
        fields: dict[str, str] = await self._ask("HGETALL", key)
        return {field: decode(text) for field, text in fields.items()}

    async def hash_delete(self, key: str, field: str) -> bool:
        return bool(await self._write("HDEL", key, field))

    async def hash_increment(self, key: str, field: str, by: int = 1) -> int:
        return int(await self._write("HINCRBY", key, field, by))

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        start = self._link.key(STATE)
        seen: set[str] = set()  # SCAN may give a key twice
        try:
            async for name in self._link.client.scan_iter(match=_glob(start + prefix), count=SCAN_COUNT):
                key = name.removeprefix(start)
                if key not in seen:
                    seen.add(key)
                    yield key
        except (RedisError, OSError) as exc:
            raise self._link.error(exc, STATE + prefix) from exc

    async def watch(self, prefix: str) -> AsyncIterator[Change]:
        async with self._feed.follow(STATE + prefix) as mailbox:
            async for change in Watch(self, mailbox, prefix).changes():
                yield change

    def lease(self, name: str, *, ttl_s: float, wait_s: float = 0.0) -> AbstractAsyncContextManager[Lease]:
        return held(self.leases, name, ttl_s=ttl_s, wait_s=wait_s)

    async def once(self, key: str, effect: Callable[[], Awaitable[Json]], *, ttl_s: float = 86_400) -> Json:
        return await run_once(self.leases, key, effect, ttl_s=ttl_s)

    async def read(self, keys: Sequence[str]) -> list[Reading | None]:
        """Return what a watcher sees of each key, and when it will expire: Redis gives no notice of it."""
        found = await self._link.run(scripts.READ, [STATE + key for key in keys])
        return [_reading(kind, pttl, content) for kind, pttl, content in found]

    async def _ask(self, command: str, key: str, *args: str) -> Any:
        return await self._link.command(command, [STATE + key], *args)

    async def _write(self, command: str, key: str, *args: str | int) -> Any:
        return await self._link.write(scripts.WRITE, STATE + key, command, *args)


def _reading(kind: str, pttl_ms: int, content: Any) -> Reading | None:
    expires_in_s = pttl_ms / 1000 + EXPIRY_MARGIN_S if pttl_ms >= 0 else None
    if kind == "string":
        return Reading(decode(content), expires_in_s)
    if kind == "hash":
        fields = zip(content[::2], content[1::2], strict=True)
        return Reading({field: decode(text) for field, text in fields}, expires_in_s)
    return None


def _glob(prefix: str) -> str:
    return _SPECIAL.sub(r"\\\1", prefix) + "*"
