"""Hears, over one pub/sub connection, which keys changed, and passes it on in this process.

The connection is there only while somebody follows. Every confirmed subscription, the first and each
after a lost connection, means that notices may have been missed: then everything counts as changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError

from control_plane.stores.changes import RETRY_S, Mailbox, Notifier
from control_plane.stores.link import RedisLink

SILENCE_S = 15.0  # a peer that is gone without a word is found out after two of these

logger = logging.getLogger("coplane.state")


class ChangeFeed:
    """The notices of one channel."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._channel = link.channel
        self._notifier = Notifier()
        self._reader: asyncio.Task[None] | None = None
        self._subscribed = False

    @asynccontextmanager
    async def follow(self, prefix: str) -> AsyncIterator[Mailbox]:
        """Deliver notices of names that begin with `prefix`; "everything" once they are sure to come."""
        try:
            with self._notifier.follow(prefix) as mailbox:
                if self._subscribed:
                    mailbox.put_everything()
                if self._reader is None:
                    self._reader = asyncio.create_task(self._read_for_ever(), name=self._channel)
                yield mailbox
        finally:
            if not self._notifier.followers:
                await self._stop()

    async def _stop(self) -> None:
        reader, self._reader, self._subscribed = self._reader, None, False
        if reader is not None:
            reader.cancel()
            await asyncio.wait({reader})

    async def _read_for_ever(self) -> None:
        while True:
            try:
                async with self._link.client.pubsub() as pubsub:
                    async with asyncio.timeout(SILENCE_S):
                        await pubsub.subscribe(self._channel)
                    await self._relay(pubsub)
            except Exception as exc:  # whatever it was, followers must hear of changes again
                self._subscribed = False
                logger.warning("state.feed.lost", extra={"channel": self._channel, "error": str(exc)})
            await asyncio.sleep(RETRY_S)

    async def _relay(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=SILENCE_S)
            if message is not None:
                asked = False
                self._pass_on(message["type"], message["data"])
            elif asked:
                raise RedisConnectionError(f"no answer to a ping within {SILENCE_S:g} s")
            else:
                await pubsub.ping()
                asked = True

    def _pass_on(self, kind: str, name: str) -> None:
        if kind == "subscribe":
            self._subscribed = True
            self._notifier.everything_changed()
        elif kind == "message":
            self._notifier.changed(name)
