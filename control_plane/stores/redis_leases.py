"""Leases and recorded results in Redis; see `leases.OnceTable`.

A lease is a hash of `token`, `holder`, and `until_ms` by the server's clock: clocks of holders do not matter.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from contracts.state import Lease
from control_plane.stores import scripts
from control_plane.stores.changes import Mailbox
from control_plane.stores.codec import ttl_ms
from control_plane.stores.feed import ChangeFeed
from control_plane.stores.leases import LEASE, Grant
from control_plane.stores.link import RedisLink

ONCE = "once:"
# How long the last token is remembered after its grant ran out: longer than a clock is set back.
REMEMBER_MS = 3_600_000


class RedisLeases:
    """Leases of one application."""

    def __init__(self, link: RedisLink, feed: ChangeFeed) -> None:
        self._link = link
        self._feed = feed

    def follow(self, prefix: str) -> AbstractAsyncContextManager[Mailbox]:
        return self._feed.follow(prefix)

    async def grant(self, name: str, ttl_s: float, holder: str = "", heir_of: str = "") -> Grant:
        args = (ttl_ms(ttl_s), REMEMBER_MS, holder, heir_of)
        token, left_ms = await self._link.run(scripts.GRANT, [LEASE + name], *args)
        return Grant(token, (left_ms + 1) / 1000)

    async def renew(self, lease: Lease) -> bool:
        args = (lease.token, ttl_ms(lease.ttl_s), REMEMBER_MS)
        return bool(await self._link.run(scripts.RENEW, [LEASE + lease.name], *args))

    async def release(self, lease: Lease) -> None:
        await self._link.write(scripts.RELEASE, LEASE + lease.name, lease.token)

    async def recorded(self, key: str) -> str | None:
        text: str | None = await self._link.command("GET", [ONCE + key])
        return text

    async def record(self, key: str, text: str, ttl_s: float) -> str:
        args = (text, "NX", "PX", ttl_ms(ttl_s))
        if await self._link.command("SET", [ONCE + key], *args):
            return text
        return await self.recorded(key) or text
