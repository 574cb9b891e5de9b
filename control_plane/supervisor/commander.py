"""Sends commands to hosts, in the order they were given, and waits for the bus where it must."""

from __future__ import annotations

import asyncio
import logging

from contracts.errors import BusError
from contracts.messages import Command, to_fields
from control_plane.brokers import StreamTransport
from control_plane.runtime.announcer import commands_stream

log = logging.getLogger("coplane.supervisor")

QUEUE_LENGTH = 10_000
COMMANDS_KEPT = 1_000
BUS_PAUSE_S = 0.5


class Commander:
    """One sender for `{app}:ctl:commands:{component}`, so that a stop never overtakes a start."""

    def __init__(self, transport: StreamTransport, *, app: str) -> None:
        self._transport = transport
        self._app = app
        self._queue: asyncio.Queue[tuple[str, Command]] = asyncio.Queue(maxsize=QUEUE_LENGTH)

    def send(self, command: Command, *, via: str = "") -> None:
        """Queue a command; returns at once.

        Args:
            via: the component on whose stream to send it, where the host does not follow its own yet.
        """
        self._queue.put_nowait((commands_stream(self._app, via or command.component), command))

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        while True:
            await self._deliver(*await self._queue.get())

    async def _deliver(self, stream: str, command: Command) -> None:
        while True:
            try:
                await self._transport.append_log(stream, to_fields(command), max_len=COMMANDS_KEPT)
                return
            except BusError as exc:
                log.warning("command.delayed", extra={"command": command.type, "error": str(exc)})
                await asyncio.sleep(BUS_PAUSE_S)
