"""One stream in memory with its consumer groups: the data and its rules, without waiting.

An entry's place is its number since the stream began, so that how far a group is, how far it is behind
and what may be trimmed are plain subtractions. Text only goes in and out; what is appended is the stream's,
and its readers see it through a view.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

from control_plane.brokers.transport import Delivery, Entry, Fields, GroupInfo

Id = tuple[int, int]


@dataclass(slots=True)
class Pending:
    """An entry that a consumer holds."""

    entry: Entry
    consumer: str
    since_s: float
    deliveries: int = 1


@dataclass(slots=True)
class Group:
    """A consumer group: `place` is the first entry it has not read; pending ones are in reading order."""

    place: int
    missed: int
    read_at_s: float
    pending: dict[str, Pending] = field(default_factory=dict)
    acknowledged: int = 0
    dead: int = 0

    def held_by(self, consumer: str) -> Iterator[Pending]:
        """Iterate over what the consumer holds."""
        return (one for one in self.pending.values() if one.consumer == consumer)


class MemoryStream:
    """Entries in order of their ids, and the groups that read them."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.entries: list[Entry] = []
        self._trimmed = 0
        self._last: Id = (0, 0)

    @property
    def accepted(self) -> int:
        """Return how many entries were ever appended."""
        return self._trimmed + len(self.entries)

    @property
    def last_id(self) -> str:
        """Return the newest id ever given."""
        return _text(self._last)

    def append(self, fields: Fields) -> str:
        """Append an entry and return its id; the fields are the stream's from here on."""
        last_ms, number = self._last
        now_ms = time.time_ns() // 1_000_000
        ms, number = (now_ms, 0) if now_ms > last_ms else (last_ms, number + 1)
        entry = Entry(f"{ms}-{number}", MappingProxyType(fields))
        self._last = ms, number
        self.entries.append(entry)
        return entry.id

    def make_room(self, max_len: int, keep: int) -> str | None:
        """Trim what every group has acknowledged; return the group that is behind where nothing was."""
        if not self.groups:
            self.trim(max_len - 1)
            return None
        behind, first = min(
            ((name, self._needed_from(group)) for name, group in self.groups.items()),
            key=lambda pair: pair[1],
        )
        if first <= self._trimmed:
            return behind
        self._drop(min(first - self._trimmed, max(len(self.entries) - keep, 1)))
        return None

    def trim(self, max_len: int) -> None:
        """Drop the oldest entries beyond `max_len`."""
        self._drop(max(len(self.entries) - max_len, 0))

    def ensure_group(self, name: str, now_s: float) -> None:
        """Make the group where it is not there, at the first entry."""
        if name not in self.groups:
            self.groups[name] = Group(place=self._trimmed, missed=self._trimmed, read_at_s=now_s)

    def forget_abandoned(self, since_s: float) -> None:
        """Remove broadcast groups ({component}.{replica}) that nobody has read since then."""
        for name, group in list(self.groups.items()):
            if "." in name and group.read_at_s < since_s:
                del self.groups[name]

    def lag(self, group: Group) -> int:
        """Return how many entries the group has not read."""
        return self.accepted - group.place

    def describe_groups(self) -> tuple[GroupInfo, ...]:
        """Return how far every group is."""
        return tuple(self._describe(name, group) for name, group in self.groups.items())

    def read(self, group: Group, consumer: str, count: int, now_s: float) -> list[Delivery]:
        """Hand the next unread entries to the consumer."""
        group.read_at_s = now_s
        place = max(group.place, self._trimmed)  # a log is trimmed, whoever has read it
        start = place - self._trimmed
        entries = self.entries[start : start + count]
        for entry in entries:
            group.pending[entry.id] = Pending(entry, consumer, now_s)
        group.place = place + len(entries)
        return [Delivery(entry) for entry in entries]

    def after(self, position: str, count: int) -> list[Entry]:
        """Return the entries that follow an id."""
        start = self._behind(_pair(position))
        return self.entries[start : start + count]

    def between(self, start: str, end: str, count: int, *, reverse: bool) -> list[Entry]:
        """Return entries from `start` to `end`, both inclusive; `-` and `+` are the ends."""
        low = 0 if start == "-" else bisect.bisect_left(self.entries, _pair(start), key=_id_of)
        high = len(self.entries) if end == "+" else self._behind(_pair(end, float("inf")))
        if reverse:
            return self.entries[max(low, high - count) : high][::-1]
        return self.entries[low : min(high, low + count)]

    def _describe(self, name: str, group: Group) -> GroupInfo:
        consumers = {one.consumer for one in group.pending.values()}
        accepted = self.accepted - group.missed
        return GroupInfo(
            name,
            consumers=len(consumers),
            pending=len(group.pending),
            lag=self.lag(group),
            accepted=accepted,
            acknowledged=group.acknowledged,
            dead=group.dead,
        )

    def _needed_from(self, group: Group) -> int:
        """Return the place of the first entry that the group has not finished."""
        for entry_id in group.pending:
            return self._trimmed + bisect.bisect_left(self.entries, _pair(entry_id), key=_id_of)
        return group.place

    def _behind(self, id_: tuple[float, float]) -> int:
        return bisect.bisect_right(self.entries, id_, key=_id_of)

    def _drop(self, count: int) -> None:
        del self.entries[:count]
        self._trimmed += count


def take(
    held: Iterator[Pending], consumer: str, count: int, except_ids: Collection[str], now_s: float
) -> list[Delivery]:
    """Hand pending entries to the consumer."""
    taken: list[Delivery] = []
    for one in held:
        if len(taken) == count:
            break
        if one.entry.id not in except_ids:
            one.consumer, one.since_s = consumer, now_s
            taken.append(Delivery(one.entry, one.deliveries, counted=False))
    return taken


def _text(id_: Id) -> str:
    return f"{id_[0]}-{id_[1]}"


def _id_of(entry: Entry) -> tuple[float, float]:
    return _pair(entry.id)


def _pair(text: str, missing: float = 0) -> tuple[float, float]:
    ms, _, seq = text.partition("-")
    return int(ms), int(seq) if seq else missing
