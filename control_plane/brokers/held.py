"""The entries that one subscription holds: queued for a worker, in work, or waiting for a retry.

Bounded twice: by what the workers can take soon, so that other replicas get their share, and by
`held_max` for everything, so that messages which keep failing do not fill the memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import Delivery

SMOOTHING = 0.2


@dataclass(slots=True, eq=False)
class HeldEntry:
    """One held entry; `again` unless this is its first delivery, `retry` while it waits for the next."""

    delivery: Delivery
    again: bool = False
    retry: asyncio.TimerHandle | None = None


class Held:
    """What a subscription holds, and how much more it can take."""

    def __init__(self, concurrency: int, settings: DeliverySettings) -> None:
        self._concurrency = concurrency
        self._settings = settings
        self._entries: dict[str, HeldEntry] = {}
        self._ready: deque[HeldEntry] = deque()
        self._working = 0
        self._mean_s: float | None = None
        self._more = asyncio.Event()
        self._some = asyncio.Event()
        self._fewer = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of all held entries."""
        return tuple(self._entries)

    def add(self, taken: list[Delivery], *, again: bool) -> None:
        """Queue what was taken from the stream; what is held already is not queued twice."""
        for delivery in taken:
            if delivery.entry.id not in self._entries:
                entry = self._entries[delivery.entry.id] = HeldEntry(delivery, again)
                self._ready.append(entry)
        if self._ready:
            self._more.set()
        if self._entries:
            self._some.set()

    def take(self) -> HeldEntry | None:
        """Return the next entry, if there is one; its worker counts as busy until `worked`."""
        if not self._ready:
            return None
        self._working += 1
        return self._ready.popleft()

    async def next(self) -> HeldEntry:
        """Wait for the next entry, and return it likewise."""
        while (entry := self.take()) is None:
            self._more.clear()
            await self._more.wait()
        return entry

    def worked(self, took_s: float | None) -> None:
        """Count a worker as free again, and note how long its handler took, where it was called."""
        self._working -= 1
        if took_s is not None:
            mean_s = took_s if self._mean_s is None else self._mean_s
            self._mean_s = mean_s + SMOOTHING * (took_s - mean_s)
        self._fewer.set()

    def retry_later(self, entry: HeldEntry, pause_s: float) -> None:
        """Queue the entry again after a pause."""
        entry.again = True
        entry.retry = asyncio.get_running_loop().call_later(pause_s, self._queue, entry)

    def let_go(self, *entry_ids: str) -> None:
        """Hold these entries no longer."""
        for entry_id in entry_ids:
            self._entries.pop(entry_id, None)
        self._fewer.set()

    def drop_retries(self) -> None:
        """Let go of what only waits for its retry."""
        for entry_id, entry in list(self._entries.items()):
            if entry.retry is not None:
                entry.retry.cancel()
                self.let_go(entry_id)

    async def wait_for_any(self) -> None:
        """Wait until something is held."""
        if not self._entries:
            self._some.clear()
        await self._some.wait()

    async def wait_for_room(self) -> int:
        """Wait until more can be taken; return how many."""
        while (room := self._room()) <= 0:
            self._fewer.clear()
            await self._fewer.wait()
        return room

    async def wait_empty(self) -> None:
        """Wait until nothing is held; nobody may wait for room at the same time."""
        while self._entries:
            self._fewer.clear()
            await self._fewer.wait()

    def _queue(self, entry: HeldEntry) -> None:
        entry.retry = None
        self._ready.append(entry)
        self._more.set()

    def _room(self) -> int:
        soon = self._concurrency + self._ahead() - len(self._ready) - self._working
        return min(soon, self._settings.held_max - len(self._entries))

    def _ahead(self) -> int:
        if self._mean_s is None:
            return 0
        wanted = self._settings.ahead_s / max(self._mean_s, 1e-6)
        return min(self._settings.ahead_max, int(wanted * self._concurrency))
