"""The small interface between the delivery loop and whatever keeps the streams.

Streams are append-only logs of entries with flat text fields. A consumer group remembers how far it
has read, and for each entry read and not yet acknowledged, who holds it, since when, and how often
it was delivered; that count is the truth for `max_deliveries`, even across `kill -9`. Reading a new
entry counts as its first delivery; taking it again counts nothing, `redeliver` does: what merely
waited in a process that was killed has not been tried.
Names are whole keys (`{app}:bus:{stream}`). Times are in seconds. Nobody changes fields that were appended.

Every method raises `BusUnavailable` (E4001) when the bus does not answer (`append` has a time limit of its
own besides) and `BusError` (E4002, E4003) when it refuses; those that name a group raise `GroupMissing` when
it is not there, except `ack` and `dead_letter`, for which a group that is gone has nothing left to
acknowledge.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Fields = Mapping[str, str]

ABANDONED_S = 900.0  # a broadcast group that nobody has read for so long is removed when it is in the way


@dataclass(slots=True)
class Entry:
    """One entry of a stream; without fields where somebody deleted it while it was pending."""

    id: str
    fields: Fields


@dataclass(slots=True)
class Delivery:
    """An entry handed to a consumer, and how often its handling was begun by now.

    An entry that is taken again is not `counted` before it is redelivered.
    """

    entry: Entry
    deliveries: int = 1
    counted: bool = True


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """How far a consumer group is: `lag` entries not yet read, `pending` read and not acknowledged.

    `accepted` are the entries that were there for it: all but those trimmed before the group existed.
    All figures are of one moment, and `acknowledged` and `dead` are counted apart from the others:
    accepted = acknowledged + dead + left, unless something was lost.
    """

    name: str
    consumers: int
    pending: int
    lag: int
    accepted: int
    acknowledged: int
    dead: int

    @property
    def left(self) -> int:
        """Return how many entries are left for next time."""
        return self.lag + self.pending


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """A stream: `accepted` counts every entry ever appended, `length` those still readable."""

    stream: str
    length: int
    accepted: int
    last_id: str
    groups: tuple[GroupInfo, ...]


class StreamTransport(Protocol):
    """Streams with consumer groups.

    Attributes:
        kind: memory, redis or valkey.
        url: the address, without the password.
        connected: whether the bus answered when it was last asked.
    """

    @property
    def kind(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def connected(self) -> bool: ...

    async def append(
        self, stream: str, fields: Fields, *, max_len: int, keep: int, timeout_s: float | None = None
    ) -> str:
        """Append an entry and return its id; wait for the bus to answer, at most `timeout_s`.

        A stream that has reached `max_len` first loses its oldest entries that every group has
        acknowledged, down to `keep`; without any group, simply its oldest.

        Raises:
            StreamFull: too many entries are not acknowledged yet.
            TimeoutError: the bus did not answer in time; it may have taken the entry all the same.
        """
        ...

    async def append_log(self, stream: str, fields: Fields, *, max_len: int) -> str:
        """Append to a log of about the last `max_len` entries, whoever has read them; return the id."""
        ...

    async def wait_for_room(self, stream: str, *, timeout_s: float) -> None:
        """Wait until something was acknowledged, if that can be known, or for `timeout_s`."""
        ...

    async def ensure_group(self, stream: str, group: str) -> None:
        """Make the stream and the group where they are not there; a new group begins at the first entry."""
        ...

    async def read_group(
        self, stream: str, group: str, consumer: str, *, count: int, block_s: float
    ) -> list[Delivery]:
        """Take up to `count` entries nobody has read, waiting up to `block_s` for the first."""
        ...

    async def read_own_pending(
        self, stream: str, group: str, consumer: str, *, count: int, except_ids: Collection[str]
    ) -> list[Delivery]:
        """Take again what this consumer holds already, but for `except_ids`."""
        ...

    async def claim_idle(
        self, stream: str, group: str, consumer: str, *, min_idle_s: float, count: int
    ) -> list[Delivery]:
        """Take what some consumer has held for `min_idle_s` without a sign of life."""
        ...

    async def redeliver(self, stream: str, group: str, consumer: str, entry_id: str) -> int:
        """Count another delivery of an entry this consumer holds; return the count, 0 if it lost it."""
        ...

    async def renew(self, stream: str, group: str, consumer: str, ids: Collection[str]) -> None:
        """Show a sign of life for entries this consumer holds, without counting a delivery."""
        ...

    async def release(self, stream: str, group: str, consumer: str) -> int:
        """Give back everything the consumer holds, for the next claim of any other; return how many."""
        ...

    async def ack(self, stream: str, group: str, ids: Sequence[str]) -> int:
        """Acknowledge, and count it in the ledger; return how many were still pending."""
        ...

    async def dead_letter(
        self, stream: str, group: str, entry_id: str, *, dead_stream: str, fields: Fields, max_len: int
    ) -> bool:
        """In one step acknowledge an entry and write it to `dead_stream`; False if it was not pending."""
        ...

    async def tail(
        self, positions: Mapping[str, str], *, count: int, block_s: float
    ) -> list[tuple[str, Entry]]:
        """Read what follows the given ids, up to `count` a stream, waiting up to `block_s` for the first."""
        ...

    async def range(
        self, stream: str, *, start: str = "-", end: str = "+", count: int = 100, reverse: bool = False
    ) -> list[Entry]:
        """Return entries from `start` to `end`, both inclusive; `reverse` begins at the newest."""
        ...

    async def newest(
        self, stream: str, *, where: Mapping[str, Collection[str]], count: int, after: str = "0-0"
    ) -> list[Entry]:
        """Return the newest `count` entries after the id `after`, oldest first, of which each field that is
        named has one of the values given."""
        ...

    async def last_id(self, stream: str) -> str:
        """Return the id of the newest entry ever appended, `0-0` where there is none."""
        ...

    async def info(self, stream: str) -> StreamInfo | None:
        """Describe a stream, None where there is none."""
        ...

    async def streams(self, prefix: str) -> list[str]:
        """Return the names of the streams that begin with `prefix`, sorted."""
        ...

    async def ping(self) -> None:
        """Return when the bus answers."""
        ...

    async def close(self) -> None:
        """Close every connection; the transport is not usable afterwards."""
        ...
