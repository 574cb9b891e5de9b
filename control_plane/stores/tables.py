"""What `MemoryState` is made of: entries that expire, and leases.

Each mimics what Redis does for the other store: a write replaces the time to live, a change of the
content leaves it, an empty hash is no entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count

from contracts.state import Lease
from control_plane.stores.changes import Mailbox, Notifier
from control_plane.stores.codec import ttl_ms, wrong_kind
from control_plane.stores.leases import LEASE, Grant

Content = str | dict[str, str]


@dataclass
class _Entry:
    content: Content
    expiry: asyncio.TimerHandle | None = None


class ExpiringTable:
    """Texts and hashes of texts that may expire; tells `on_change` every key that changed."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        self._entries: dict[str, _Entry] = {}
        self._on_change = on_change

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._entries))

    def get(self, key: str) -> Content | None:
        """Return the content, of either kind."""
        entry = self._entries.get(key)
        return entry.content if entry else None

    def text(self, key: str) -> str | None:
        """Return the text; a hash is refused."""
        content = self.get(key)
        if isinstance(content, dict):
            raise wrong_kind(key)
        return content

    def fields(self, key: str) -> dict[str, str]:
        """Return the hash itself, or a new one; a text is refused."""
        content = self.get(key)
        if isinstance(content, str):
            raise wrong_kind(key)
        return {} if content is None else content

    def put(self, key: str, content: Content, *, ttl_s: float | None = None) -> None:
        """Replace the entry, and with it its time to live."""
        expiry = None
        if ttl_s is not None:
            expiry = asyncio.get_running_loop().call_later(ttl_ms(ttl_s) / 1000, self.drop, key)
        self._forget(key)
        self._entries[key] = _Entry(content, expiry)
        self._on_change(key)

    def update(self, key: str, content: Content) -> None:
        """Change the content and leave the time to live."""
        entry = self._entries.get(key)
        if not content:
            self.drop(key)
        elif entry is None:
            self.put(key, content)
        else:
            entry.content = content
            self._on_change(key)

    def drop(self, key: str) -> bool:
        """Delete the entry; return whether it was there."""
        was_there = self._forget(key)
        if was_there:
            self._on_change(key)
        return was_there

    def _forget(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry and entry.expiry:
            entry.expiry.cancel()
        return entry is not None


@dataclass(frozen=True)
class _Holding:
    token: int
    expires_at: float
    holder: str

    def passes_to(self, holder: str, heir_of: str) -> bool:
        own = bool(self.holder) and self.holder == holder
        return own or (bool(heir_of) and self.holder.startswith(heir_of))


class MemoryLeases:
    """Leases and recorded results of one process; see `leases.OnceTable`."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._tokens = count(1)
        self._held: dict[str, _Holding] = {}
        self._results = ExpiringTable(on_change=lambda key: None)

    async def grant(self, name: str, ttl_s: float, holder: str = "", heir_of: str = "") -> Grant:
        now = asyncio.get_running_loop().time()
        holding = self._held.get(name)
        if holding and holding.expires_at > now and not holding.passes_to(holder, heir_of):
            return Grant(0, holding.expires_at - now)
        self._held[name] = _Holding(next(self._tokens), now + ttl_s, holder)
        return Grant(self._held[name].token)

    async def renew(self, lease: Lease) -> bool:
        if not self._is_held(lease):
            return False
        expires_at = asyncio.get_running_loop().time() + lease.ttl_s
        self._held[lease.name] = replace(self._held[lease.name], expires_at=expires_at)
        return True

    async def release(self, lease: Lease) -> None:
        if self._is_held(lease):
            del self._held[lease.name]
            self._notifier.changed(LEASE + lease.name)

    def _is_held(self, lease: Lease) -> bool:
        holding = self._held.get(lease.name)
        return holding is not None and holding.token == lease.token

    @asynccontextmanager
    async def follow(self, prefix: str) -> AsyncIterator[Mailbox]:
        with self._notifier.follow(prefix) as mailbox:
            yield mailbox

    async def recorded(self, key: str) -> str | None:
        return self._results.text(key)

    async def record(self, key: str, text: str, ttl_s: float) -> str:
        first = self._results.text(key)
        if first is None:
            self._results.put(key, text, ttl_s=ttl_s)
        return text if first is None else first
