"""Shared state: what replicas of every component read and write together, in every mode.

Values are JSON values. Keys are plain text; every component of one application shares one key space.
Times are in seconds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Json = Any  # a JSON value: None, bool, int, float, str, list or dict of them


class LeaseLost(Exception):
    """The lease expired, or somebody else holds it."""


@dataclass(frozen=True)
class Change:
    """One change of a watched key; `value` is None when the key was deleted or has expired."""

    key: str
    value: Json


@dataclass(frozen=True)
class Lease:
    """Expiring ownership of a name.

    `token` is the fencing token: it grows with every grant, so that a resource can refuse a holder
    that was paused past its lease (Kleppmann, "How to do distributed locking", 2016).
    """

    name: str
    token: int
    ttl_s: float


class SharedState(Protocol):
    """Shared state of one application."""

    async def get(self, key: str, default: Json = None) -> Json:
        """Return the value, or `default` where there is none."""
        ...

    async def set(self, key: str, value: Json, *, ttl_s: float | None = None) -> None:
        """Store the value; with `ttl_s`, it is gone after that time."""
        ...

    async def delete(self, key: str) -> bool:
        """Delete the key (a value or a hash); return whether it was there."""
        ...

    async def compare_and_set(self, key: str, expected: Json, value: Json) -> bool:
        """Store `value` only where the present value equals `expected` (None: where there is none)."""
        ...

    async def increment(self, key: str, by: int = 1) -> int:
        """Add to an integer that starts at 0; return the new value."""
        ...

    async def hash_set(self, key: str, field: str, value: Json) -> bool:
        """Set one field of a hash; return whether the field is new."""
        ...

    async def hash_get(self, key: str, field: str, default: Json = None) -> Json:
        """Return one field of a hash, or `default`."""
        ...

    async def hash_all(self, key: str) -> dict[str, Json]:
        """Return every field of a hash; empty where there is none."""
        ...

    async def hash_delete(self, key: str, field: str) -> bool:
        """Delete one field; return whether it was there."""
        ...

    async def hash_increment(self, key: str, field: str, by: int = 1) -> int:
        """Add to an integer field that starts at 0; return the new value."""
        ...

    def scan(self, prefix: str) -> AsyncIterator[str]:
        """Iterate over the keys that begin with `prefix`, in no order, each once."""
        ...

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """Iterate over changes of the keys that begin with `prefix`, from the present values on.

        Level-triggered: the present values come first, and again after a lost connection; values
        in between may be skipped, the newest never is.
        """
        ...

    def lease(self, name: str, *, ttl_s: float, wait_s: float = 0.0) -> AbstractAsyncContextManager[Lease]:
        """Hold a lease for the length of a block; it is renewed meanwhile and given back at the end.

        Raises:
            LeaseLost: it was not to be had within `wait_s`.
        """
        ...

    async def once(self, key: str, effect: Callable[[], Awaitable[Json]], *, ttl_s: float = 86_400) -> Json:
        """Run `effect` once for this key, whoever calls and how often; return its result to every caller.

        One caller at a time runs it; the result is recorded for `ttl_s`. An exception records nothing,
        so the next caller tries again. A process killed between effect and record leads to one more run.
        """
        ...

    async def get_many(self, keys: list[str]) -> Mapping[str, Json]:
        """Return the values of those keys that have one."""
        ...
