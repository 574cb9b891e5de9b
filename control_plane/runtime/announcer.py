"""Sends a host's messages to the control plane, in order, without ever making the host wait.

A bounded queue and one sender. While the bus is away messages are dropped, oldest first:
heartbeats carry the whole truth, so the next one that gets through repairs what was lost. What no heartbeat
repairs, such as the outcome of a request, waits for the bus, and what comes after it waits too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import datetime

from contracts.errors import BusError
from contracts.messages import Message, to_fields
from control_plane.brokers import StreamTransport

log = logging.getLogger("coplane.host")

EVENTS_KEPT = 10_000
QUEUE_LENGTH = 512
SEND_TIMEOUT_S = 5.0
BUS_PAUSE_S = 0.5


def events_stream(app: str) -> str:
    """Return the name of the stream that hosts write."""
    return f"{app}:ctl:events"


def requests_stream(app: str) -> str:
    """Return the name of the stream that the control plane alone consumes."""
    return f"{app}:ctl:requests"


def commands_stream(app: str, component: str) -> str:
    """Return the name of the stream of commands to a component's replicas."""
    return f"{app}:ctl:commands:{component}"


class Announcer:
    """Appends events to `{app}:ctl:events`."""

    def __init__(
        self, transport: StreamTransport, *, app: str, node: str, utc_now: Callable[[], datetime]
    ) -> None:
        self._transport = transport
        self._stream = events_stream(app)
        self._node = node
        self._utc_now = utc_now
        self._queue: deque[tuple[Message, bool]] = deque(maxlen=QUEUE_LENGTH)
        self._waiting = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._last_was_sent = True

    def announce(self, message: Message, *, insist: bool = False) -> None:
        """Queue a message; returns at once.

        Args:
            insist: send it again until the bus has it.
        """
        named = message.model_copy(update={"node": self._node, "at": self._utc_now()})
        self._queue.append((named, insist))
        self._idle.clear()
        self._waiting.set()

    async def run(self) -> None:
        """Send what is queued, until cancelled."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self._queue:
                message, insist = self._queue.popleft()
                sent = await self._send(message)
                while insist and not sent:
                    await asyncio.sleep(BUS_PAUSE_S)
                    sent = await self._send(message)
            self._idle.set()

    async def flush(self, *, timeout_s: float) -> bool:
        """Wait until nothing is queued, at most `timeout_s`; return whether the last of it was sent."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False  # what waits is sent, or dropped, later
        return self._last_was_sent

    async def _send(self, message: Message) -> bool:
        """Send a message; return whether there is nothing more to be done for it."""
        self._last_was_sent = False
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._transport.append_log(self._stream, to_fields(message), max_len=EVENTS_KEPT)
            self._last_was_sent = True
        except (BusError, TimeoutError):
            return False
        except ValueError as exc:  # text or a value that has no wire form
            log.warning("message.dropped", extra={"type": message.type, "error": str(exc)})
        return True
