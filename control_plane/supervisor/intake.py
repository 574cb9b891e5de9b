"""Reads the event stream and the request stream, and puts what it understands into the inbox.

What is malformed or of an unknown type is counted and skipped; it never stops the reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Protocol

from contracts.errors import BusError, LaunchError
from contracts.messages import AnyRequest, Event, MalformedEntry, Message, Request, from_fields, to_fields
from control_plane.brokers import Delivery, GroupMissing, StreamTransport
from control_plane.core.inputs import BusLost, BusRecovered, Input
from control_plane.runtime import clock
from control_plane.runtime.announcer import events_stream, requests_stream
from control_plane.supervisor.requests import REQUESTS_KEPT

log = logging.getLogger("coplane.supervisor")

BLOCK_S = 30.0
BUS_PAUSE_S = 0.5
EVENTS_READ = 200
REQUESTS_READ = 20
# A read that ends so soon after the last one shows a busy stream, which is cheaper to read in batches.
BUSY_S = 0.01
BATCH_PAUSE_S = 0.005
PROBE_TIMEOUT_S = 1.0
# Far above what an answer takes on a busy machine, and far below a freeze that costs heartbeats.
PROBE_SLOW_S = 0.3
PROBE_TICK_S = 0.05
GROUP = "control-plane"


def probes_stream(app: str) -> str:
    """Return the name of the stream that shows whether the bus takes messages; it holds about one."""
    return f"{app}:ctl:probes"


class Leader(Protocol):
    """Whether this control plane leads its application."""

    @property
    def is_certain(self) -> bool:
        """Tell whether nobody else can lead now."""
        ...

    async def confirm(self) -> None:
        """Make certain.

        Raises:
            LaunchError: another one leads.
            BusError: the bus does not answer.
        """
        ...


class Intake:
    """Feeds one inbox."""

    def __init__(
        self, transport: StreamTransport, *, app: str, inbox: asyncio.Queue[Input], leader: Leader
    ) -> None:
        self._transport = transport
        self._leader = leader
        self._events = events_stream(app)
        self._requests = requests_stream(app)
        self._inbox = inbox
        self.skipped = 0
        self._probes = probes_stream(app)
        self._connected = True
        self._position = ""
        self._read = asyncio.Event()

    async def is_bus_there(self) -> bool:
        """Return whether hosts could be heard until now, and what they said was read.

        A bus that is frozen or full ends no read for long; and one that was frozen until a moment ago
        answers late, and has everything that was said meanwhile to tell still.
        """
        async with asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(self._probe())
            # Counted in ticks: one that came late is our own lag, and no silence of the bus.
            ticks = 0
            while not probe.done() and ticks * PROBE_TICK_S < PROBE_TIMEOUT_S:
                await asyncio.wait({probe}, timeout=PROBE_TICK_S)
                ticks += not probe.done()
            answered = probe.done() and probe.result()
            probe.cancel()
        if not answered or ticks * PROBE_TICK_S > PROBE_SLOW_S:
            self._connected = False  # until the next read of events succeeds
        return self._connected

    async def _probe(self) -> bool:
        try:
            await self._transport.append_log(self._probes, {"type": "probe"}, max_len=1)
            await self._until_read(await self._transport.last_id(self._events))
        except BusError:
            return False
        return True

    async def _until_read(self, entry_id: str) -> None:
        while _numbers(self._position) < _numbers(entry_id):
            await self._read.wait()

    async def take_position(self) -> None:
        """Begin with what is said from now on, if the bus answers in time; else from when it does."""
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._begin()

    async def _begin(self) -> None:
        newest = await self._transport.last_id(self._events)
        self._position = self._position or newest

    async def read_events(self) -> None:
        """Follow what hosts say from now on; their next heartbeats tell the rest."""
        read_s = 0.0
        while True:
            try:
                if not self._position:
                    await self._begin()
                entries = await self._transport.tail(
                    {self._events: self._position}, count=EVENTS_READ, block_s=BLOCK_S
                )
            except BusError as exc:
                if self._connected:
                    log.warning("bus.lost", extra={"error": str(exc)})
                    await self._inbox.put(BusLost())
                self._connected = False
                await asyncio.sleep(BUS_PAUSE_S)
                continue
            was_read_s, read_s = read_s, clock.now_s()
            if not self._connected:
                log.info("bus.recovered")
                await self._inbox.put(BusRecovered())
                self._connected = True
            for _, entry in entries:
                message = self._understood(entry.id, entry.fields)
                if isinstance(message, Event):
                    await self._inbox.put(message)
                self._position = entry.id
            self._read.set()  # whoever waits has an event of its own time
            self._read = asyncio.Event()
            if read_s - was_read_s < BUSY_S:
                await asyncio.sleep(BATCH_PAUSE_S)

    async def read_requests(self) -> None:
        """Consume requests; each is acknowledged once it is in the inbox."""
        while True:
            try:
                await self._transport.ensure_group(self._requests, GROUP)
                await self._take_requests(
                    await self._transport.read_own_pending(
                        self._requests, GROUP, GROUP, count=REQUESTS_READ, except_ids=()
                    )
                )
                while True:
                    await self._take_requests(
                        await self._transport.read_group(
                            self._requests, GROUP, GROUP, count=REQUESTS_READ, block_s=BLOCK_S
                        )
                    )
            except GroupMissing:
                continue
            except BusError:
                await asyncio.sleep(BUS_PAUSE_S)

    async def _take_requests(self, deliveries: list[Delivery]) -> None:
        if deliveries and not self._leader.is_certain:
            # We were paused, and somebody else may lead by now.
            await self._confirm_or_hand_back(deliveries)
        for delivery in deliveries:
            entry = delivery.entry
            message = self._understood(entry.id, entry.fields)
            if isinstance(message, AnyRequest):
                await self._inbox.put(_named(message, entry.id))
            await self._transport.ack(self._requests, GROUP, [entry.id])

    async def _confirm_or_hand_back(self, deliveries: list[Delivery]) -> None:
        try:
            await self._leader.confirm()
        except LaunchError:
            for delivery in deliveries:
                entry = delivery.entry
                message = self._understood(entry.id, entry.fields)
                if isinstance(message, AnyRequest):
                    fields = to_fields(_named(message, entry.id))
                    await self._transport.append_log(self._requests, fields, max_len=REQUESTS_KEPT)
                await self._transport.ack(self._requests, GROUP, [entry.id])
            raise

    def _understood(self, entry_id: str, fields: Mapping[str, str]) -> Message | None:
        try:
            message = from_fields(fields)
        except MalformedEntry as exc:
            self._skip(entry_id, str(exc))
            return None
        if not isinstance(message, Event | Request):
            self._skip(entry_id, f"'{message.type}' does not belong here")
        return message

    def _skip(self, entry_id: str, why: str) -> None:
        self.skipped += 1
        log.warning("entry.skipped", extra={"entry": entry_id, "error": why})


def _named(request: AnyRequest, entry_id: str) -> AnyRequest:
    """Return the request with an id, if need be that of its entry."""
    return request if request.request_id else request.model_copy(update={"request_id": entry_id})


def _numbers(entry_id: str) -> tuple[int, ...]:
    """Return an id of a stream as numbers, which compare as the server does; of nothing read, none."""
    return tuple(int(part) for part in entry_id.split("-") if part)
