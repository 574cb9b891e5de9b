"""Shared state in this process: for single mode, and for tests.

The same observable semantics as `RedisState`. Values are kept as JSON text, so that nobody holds a
reference into the store. Nothing bounds it but what its users put in. One event loop only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from contracts.state import Change, Json, Lease
from control_plane.stores.changes import STATE, Notifier, Reading, Watch
from control_plane.stores.codec import added, decode, encode
from control_plane.stores.leases import held, run_once
from control_plane.stores.tables import ExpiringTable, MemoryLeases


class MemoryState:
    """`SharedState` of one application in one process."""

    def __init__(self, app: str) -> None:
        self.app = app
        self._notifier = Notifier()
        self._values = ExpiringTable(on_change=lambda key: self._notifier.changed(STATE + key))
        self.leases = MemoryLeases(self._notifier)

    async def get(self, key: str, default: Json = None) -> Json:
        return decode(self._values.text(key), default)

    async def get_many(self, keys: list[str]) -> Mapping[str, Json]:
        contents = {key: self._values.get(key) for key in keys}
        return {key: decode(text) for key, text in contents.items() if isinstance(text, str)}

    async def set(self, key: str, value: Json, *, ttl_s: float | None = None) -> None:
        self._values.put(key, encode(value), ttl_s=ttl_s)

    async def delete(self, key: str) -> bool:
        return self._values.drop(key)

    async def compare_and_set(self, key: str, expected: Json, value: Json) -> bool:
        wanted, text = encode(expected), encode(value)
        if (self._values.text(key) or encode(None)) != wanted:
            return False
        self._values.put(key, text)
        return True

    async def increment(self, key: str, by: int = 1) -> int:
        total = added(key, self._values.text(key), by)
        self._values.update(key, str(total))
        return total

    async def hash_set(self, key: str, field: str, value: Json) -> bool:
        text = encode(value)
        fields = self._values.fields(key)
        is_new = field not in fields
        fields[field] = text
        self._values.update(key, fields)
        return is_new

    async def hash_get(self, key: str, field: str, default: Json = None) -> Json:
        return decode(self._values.fields(key).get(field), default)

    async def hash_all(self, key: str) -> dict[str, Json]:
        return {field: decode(text) for field, text in self._values.fields(key).items()}

    async def hash_delete(self, key: str, field: str) -> bool:
        fields = self._values.fields(key)
        was_there = fields.pop(field, None) is not None
        if was_there:
            self._values.update(key, fields)
        return was_there

    async def hash_increment(self, key: str, field: str, by: int = 1) -> int:
        fields = self._values.fields(key)
        total = added(key, fields.get(field), by)
        fields[field] = str(total)
        self._values.update(key, fields)
        return total

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        for key in self._values:
            if key.startswith(prefix):
                yield key

    async def watch(self, prefix: str) -> AsyncIterator[Change]:
        with self._notifier.follow(STATE + prefix) as mailbox:
            mailbox.put_everything()
            async for change in Watch(self, mailbox, prefix).changes():
                yield change

    def lease(self, name: str, *, ttl_s: float, wait_s: float = 0.0) -> AbstractAsyncContextManager[Lease]:
        return held(self.leases, name, ttl_s=ttl_s, wait_s=wait_s)

    async def once(self, key: str, effect: Callable[[], Awaitable[Json]], *, ttl_s: float = 86_400) -> Json:
        return await run_once(self.leases, key, effect, ttl_s=ttl_s)

    async def read(self, keys: Sequence[str]) -> list[Reading | None]:
        """Return what a watcher sees of each key; the table itself gives notice of expiry."""
        return [self._reading(key) for key in keys]

    def _reading(self, key: str) -> Reading | None:
        content = self._values.get(key)
        if content is None:
            return None
        if isinstance(content, str):
            return Reading(decode(content))
        return Reading({field: decode(text) for field, text in content.items()})
