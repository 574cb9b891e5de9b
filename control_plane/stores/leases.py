"""How a lease is got, kept and given back, over any store.

The holder counts its own deadline from before it asked, so it stops before the store gives the lease
to somebody else, even when the store is out of reach. Nothing polls: whoever waits wakes on the
notice of a release, or when the present grant runs out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from contracts.errors import BusError
from contracts.state import Json, Lease, LeaseLost
from control_plane.stores.changes import Mailbox
from control_plane.stores.codec import decode, encode, ttl_ms

LEASE = "lease:"
ONCE_LEASE_TTL_S = 10.0  # how soon another caller takes over from a killed one
ONCE_WAIT_S = 300.0  # how long a caller waits for the one that runs the effect


@dataclass(frozen=True)
class Grant:
    """The store's answer: a fencing token, or 0 and when the present grant runs out."""

    token: int
    retry_in_s: float = 0.0


class LeaseTable(Protocol):
    """What a store does for leases."""

    async def grant(self, name: str, ttl_s: float, holder: str = "", heir_of: str = "") -> Grant:
        """Grant what nobody holds, or what is held in the name of `holder` already: its answer was lost.

        What is held in a name that begins with `heir_of` is granted as well: its holder is known to be dead.
        """
        ...

    async def renew(self, lease: Lease) -> bool: ...

    async def release(self, lease: Lease) -> None: ...

    def follow(self, prefix: str) -> AbstractAsyncContextManager[Mailbox]: ...


class OnceTable(LeaseTable, Protocol):
    """What a store does for `once`; `record` returns the text that was recorded first."""

    async def recorded(self, key: str) -> str | None: ...

    async def record(self, key: str, text: str, ttl_s: float) -> str: ...


@asynccontextmanager
async def held(table: LeaseTable, name: str, *, ttl_s: float, wait_s: float) -> AsyncIterator[Lease]:
    """Hold a lease for the length of a block; cancel the block when it is lost."""
    ttl_ms(ttl_s)  # refuse a wrong one before asking
    lease, expires_at = await _acquire(table, name, ttl_s, wait_s)
    try:
        async with _kept(table, lease, expires_at):
            yield lease
    finally:
        with suppress(BusError):  # unreachable: then it runs out by itself
            await table.release(lease)


async def _acquire(table: LeaseTable, name: str, ttl_s: float, wait_s: float) -> tuple[Lease, float]:
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + wait_s
    asked_at = loop.time()
    grant = await table.grant(name, ttl_s)
    if not grant.token and wait_s > 0:
        async with table.follow(f"{LEASE}{name}") as released:
            while not grant.token and (left_s := give_up_at - loop.time()) > 0:
                await released.take(min(left_s, grant.retry_in_s))
                asked_at = loop.time()
                grant = await table.grant(name, ttl_s)
    if not grant.token:
        raise LeaseLost(f"lease '{name}' was not to be had within {wait_s:g} s: somebody else holds it")
    return Lease(name, grant.token, ttl_s), asked_at + ttl_s


@asynccontextmanager
async def _kept(table: LeaseTable, lease: Lease, expires_at: float) -> AsyncIterator[None]:
    scope = asyncio.timeout_at(expires_at)
    try:
        async with scope, _renewed(table, lease, scope):
            yield
    except TimeoutError as exc:
        if not scope.expired():
            raise  # the block's own
        raise LeaseLost(f"lease '{lease.name}' was lost while it was held") from exc
    if scope.expired():  # the block swallowed its cancellation
        raise LeaseLost(f"lease '{lease.name}' was lost while it was held")


@asynccontextmanager
async def _renewed(table: LeaseTable, lease: Lease, scope: asyncio.Timeout) -> AsyncIterator[None]:
    renewer = asyncio.create_task(_renew(table, lease, scope), name=f"lease {lease.name}")
    try:
        yield
    finally:
        renewer.cancel()
        await asyncio.wait({renewer})


async def _renew(table: LeaseTable, lease: Lease, scope: asyncio.Timeout) -> None:
    loop = asyncio.get_running_loop()
    renewed = True
    while renewed:
        await asyncio.sleep(lease.ttl_s / 3)
        asked_at = loop.time()
        try:
            renewed = await table.renew(lease)
        except BusError:
            continue  # the next third may find the bus back; until then the scope's deadline stands
        if not scope.expired():
            scope.reschedule(asked_at + lease.ttl_s if renewed else asked_at)


async def run_once(
    table: OnceTable, key: str, effect: Callable[[], Awaitable[Json]], *, ttl_s: float
) -> Json:
    """Return the recorded result of `effect`, running and recording it where there is none."""
    ttl_ms(ttl_s)
    text = await table.recorded(key)
    if text is None:
        async with held(table, f"once:{key}", ttl_s=ONCE_LEASE_TTL_S, wait_s=ONCE_WAIT_S):
            text = await table.recorded(key)
            if text is None:
                text = await table.record(key, encode(await effect()), ttl_s)
    return decode(text)
