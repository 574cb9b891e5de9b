"""One application's key space in one Redis: names, scripts, and errors in our words."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from contracts.errors import BusError
from control_plane.connections import ANSWER_TIMEOUT_S, bus_error, connect
from control_plane.stores.codec import wrong_kind

WRONG_KIND = ("WRONGTYPE", "not an integer")


class RedisLink:
    """Runs commands and scripts for `{app}`; `name` is `state:KEY`, `lease:NAME` or `once:KEY`."""

    def __init__(self, app: str, url: str) -> None:
        self.channel = f"{app}:state-changes"
        self._app = app
        self._url = url
        self._scripts: dict[str, Any] = {}

    @cached_property
    def client(self) -> Redis:
        """Return the client, made for whoever asks first: most hosts of an idle backend never do.

        Raises:
            BusError: the URL cannot be read (E4003).
        """
        return connect(self._url)

    async def close(self) -> None:
        """Close the connections."""
        if "client" in vars(self):
            await self.client.aclose()

    def key(self, name: str) -> str:
        """Return the Redis key."""
        return f"{self._app}:{name}"

    async def command(self, command: str, names: Sequence[str], *args: str | int) -> Any:
        """Run a plain command on these keys."""
        keys = [self.key(name) for name in names]
        execute: Callable[..., Awaitable[Any]] = self.client.execute_command
        return await self._answer(execute(command, *keys, *args), names)

    async def run(self, script: str, names: Sequence[str], *args: str | int) -> Any:
        """Run a script, by its hash where the server knows it."""
        if script not in self._scripts:
            self._scripts[script] = self.client.register_script(script)
        keys = [self.key(name) for name in names]
        return await self._answer(self._scripts[script](keys=keys, args=args), names)

    async def write(self, script: str, name: str, *args: str | int) -> Any:
        """Run a script that changes one key and gives notice of it."""
        return await self.run(script, [name], self.channel, name, *args)

    def error(self, exc: Exception, name: str) -> BusError:
        """Return what a client's error means to a caller."""
        if any(sign in str(exc) for sign in WRONG_KIND):
            return wrong_kind(name.partition(":")[2])
        return bus_error(exc, self._url)

    async def _answer(self, reply: Awaitable[Any], names: Sequence[str]) -> Any:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await reply
        except (RedisError, OSError) as exc:
            raise self.error(exc, names[0]) from exc
