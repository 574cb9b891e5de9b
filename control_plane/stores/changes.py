"""Who is told that a key changed, and what a watcher makes of it.

A notice carries the name of a key and no value: the watcher reads the newest value when it gets there.
So notices that pile up for a slow reader merge into one, and a lost notice is repaired by looking again.
Names are `state:KEY` and `lease:NAME`. Knows nothing of Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from contracts.errors import BusError
from contracts.state import Change, Json

STATE = "state:"
MAX_NOTICES = 10_000  # past this many keys, looking at everything costs less than the list
READ_BATCH = 256
RETRY_S = 2.0
BUS_UNREACHABLE = "E4001"


@dataclass(frozen=True)
class Notices:
    """What changed since the last look: these names, or possibly everything."""

    names: tuple[str, ...] = ()
    everything: bool = False


class Mailbox:
    """The notices for one reader, merged and bounded."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._names: dict[str, None] = {}  # a set that keeps the order
        self._everything = False
        self._filled = asyncio.Event()

    def put(self, name: str) -> None:
        """Note that `name` changed, if it is among those the reader follows."""
        if self._everything or not name.startswith(self._prefix):
            return
        self._names[name] = None
        self._filled.set()
        if len(self._names) > MAX_NOTICES:
            self.put_everything()

    def put_everything(self) -> None:
        """Note that anything may have changed."""
        self._everything = True
        self._names.clear()
        self._filled.set()

    async def take(self, timeout_s: float | None = None) -> Notices:
        """Wait for notices and empty the box; after `timeout_s`, return none."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._filled.wait()
        except TimeoutError:
            return Notices()
        taken = Notices(tuple(self._names), self._everything)
        self._names.clear()
        self._everything = False
        self._filled.clear()
        return taken


class Notifier:
    """Fans notices out to the mailboxes of this process."""

    def __init__(self) -> None:
        self._mailboxes: set[Mailbox] = set()

    @contextmanager
    def follow(self, prefix: str) -> Iterator[Mailbox]:
        """Deliver notices of names that begin with `prefix` for the length of a block."""
        mailbox = Mailbox(prefix)
        self._mailboxes.add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes.discard(mailbox)

    @property
    def followers(self) -> int:
        """How many listen."""
        return len(self._mailboxes)

    def changed(self, name: str) -> None:
        """Tell those who follow `name`."""
        for mailbox in self._mailboxes:
            mailbox.put(name)

    def everything_changed(self) -> None:
        """Tell all to look again at everything."""
        for mailbox in self._mailboxes:
            mailbox.put_everything()


@dataclass(frozen=True)
class Reading:
    """A key as a watcher finds it. `expires_in_s` only where the store gives no notice of expiry."""

    value: Json
    expires_in_s: float | None = None


class Readable(Protocol):
    """What a watcher needs of a store."""

    def scan(self, prefix: str) -> AsyncIterator[str]: ...

    async def read(self, keys: Sequence[str]) -> list[Reading | None]: ...


class Watch:
    """Turns notices into changes, by reading the keys they name."""

    def __init__(self, store: Readable, mailbox: Mailbox, prefix: str) -> None:
        self._store = store
        self._mailbox = mailbox
        self._prefix = prefix
        self._known: set[str] = set()
        self._expires_at: dict[str, float] = {}

    async def changes(self) -> AsyncIterator[Change]:
        """Iterate for ever; an unreachable bus only makes it wait, and then look at everything again."""
        while True:
            notices = await self._mailbox.take(self._until_next_expiry_s())
            try:
                keys = [*await self._named_by(notices), *self._take_expired()]
                for start in range(0, len(keys), READ_BATCH):
                    for change in await self._look_at(keys[start : start + READ_BATCH]):
                        yield change
            except BusError as exc:
                if exc.code != BUS_UNREACHABLE:
                    raise
                await asyncio.sleep(RETRY_S)
                self._mailbox.put_everything()

    async def _named_by(self, notices: Notices) -> list[str]:
        if not notices.everything:
            return [name.removeprefix(STATE) for name in notices.names]
        present = [key async for key in self._store.scan(self._prefix)]
        return [*present, *self._known.difference(present)]

    async def _look_at(self, keys: Sequence[str]) -> list[Change]:
        readings = await self._store.read(keys)
        changes = [self._learn(key, reading) for key, reading in zip(keys, readings, strict=True)]
        return [change for change in changes if change is not None]

    def _learn(self, key: str, reading: Reading | None) -> Change | None:
        self._expires_at.pop(key, None)
        if reading is None:
            was_known = key in self._known
            self._known.discard(key)
            return Change(key, None) if was_known else None
        self._known.add(key)
        if reading.expires_in_s is not None:
            self._expires_at[key] = asyncio.get_running_loop().time() + reading.expires_in_s
        return Change(key, reading.value)

    def _until_next_expiry_s(self) -> float | None:
        if not self._expires_at:
            return None
        return max(0.0, min(self._expires_at.values()) - asyncio.get_running_loop().time())

    def _take_expired(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        expired = [key for key, at in self._expires_at.items() if at <= now]
        for key in expired:
            del self._expires_at[key]
        return expired
