"""The entries that one subscription holds: queued for a worker, in work, or waiting for a retry.

Bounded twice: by what the workers can take soon, so that other replicas get their share, and by
`held_max` for everything, so that messages which keep failing do not fill the memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection

from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import Delivery

SMOOTHING = 0.2


class Held:
    """What a subscription holds, and how much more it can take."""

    def __init__(self, concurrency: int, settings: DeliverySettings) -> None:
        self._concurrency = concurrency
        self._settings = settings
        self._ids: set[str] = set()
        self._ready: deque[Delivery] = deque()
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._working = 0
        self._mean_s: float | None = None
        self._more = asyncio.Event()
        self._some = asyncio.Event()
        self._fewer = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of all held entries."""
        return tuple(self._ids)

    def add(self, taken: list[Delivery]) -> None:
        """Queue what was taken from the stream; what is held already is not queued twice."""
        for delivery in taken:
            entry_id = delivery.entry.id
            if entry_id not in self._ids:
                self._ids.add(entry_id)
                self._ready.append(delivery)
        if self._ready:
            self._more.set()
        if self._ids:
            self._some.set()

    def take(self) -> Delivery | None:
        """Return the next entry, if there is one; its worker counts as busy until `worked`."""
        if not self._ready:
            return None
        self._working += 1
        return self._ready.popleft()

    async def next(self) -> Delivery:
        """Wait for the next entry, and return it likewise."""
        while (delivery := self.take()) is None:
            self._more.clear()
            await self._more.wait()
        return delivery

    def worked(self, took_s: float | None) -> None:
        """Count a worker as free again, and note how long handling took, if it came to that."""
        self._working -= 1
        if took_s is not None:
            mean_s = took_s if self._mean_s is None else self._mean_s
            self._mean_s = mean_s + SMOOTHING * (took_s - mean_s)
        self._fewer.set()

    def retry_later(self, delivery: Delivery, pause_s: float) -> None:
        """Queue the entry again after a pause."""
        delivery.counted = False
        loop = asyncio.get_running_loop()
        self._retries[delivery.entry.id] = loop.call_later(pause_s, self._queue, delivery)

    def let_go(self, entry_ids: Collection[str]) -> None:
        """Hold these entries no longer."""
        self._ids.difference_update(entry_ids)
        self._fewer.set()

    def drop_retries(self) -> None:
        """Let go of what only waits for its retry."""
        for retry in self._retries.values():
            retry.cancel()
        self.let_go(self._retries)
        self._retries.clear()

    async def wait_for_any(self) -> None:
        """Wait until something is held."""
        if not self._ids:
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
        while self._ids:
            self._fewer.clear()
            await self._fewer.wait()

    def _queue(self, delivery: Delivery) -> None:
        del self._retries[delivery.entry.id]
        self._ready.append(delivery)
        self._more.set()

    def _room(self) -> int:
        soon = self._concurrency + self._ahead() - len(self._ready) - self._working
        return min(soon, self._settings.held_max - len(self._ids))

    def _ahead(self) -> int:
        if self._mean_s is None:
            return 0
        wanted = self._settings.ahead_s / max(self._mean_s, 1e-6)
        return min(self._settings.ahead_max, int(wanted * self._concurrency))
