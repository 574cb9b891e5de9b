"""The delivery loop: at least once, the same over every transport.

One `Subscription` is one consumer of one group of one stream:

- On start, and after every lost connection, it first takes what it holds already, then new entries;
  when a read ends empty it looks for entries of consumers that died.
- A handler that returns acknowledges its entry. One that raises gets it again after a pause, while
  others go on; after `max_deliveries`, or at once for `Undeliverable`, the entry becomes a dead letter.
- The server counts deliveries, so a message that kills its process is counted too; one that only
  waited in that process is not.
- Held entries are renewed while there are any; an idle subscription has one blocked read and no timer.
- No failure of a handler, a message or the bus ends the loop; `drain` and `stop` do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from contracts.errors import BusError
from control_plane.brokers.dead_letters import dead_letter_fields
from control_plane.brokers.errors import BusUnavailable, GroupMissing, Undeliverable
from control_plane.brokers.held import Held
from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import Delivery, StreamTransport

log = logging.getLogger(__name__)

T = TypeVar("T")
Handle = Callable[[Delivery], Awaitable[None]]

ACKS_AT_ONCE = 128
OPEN_TIMEOUT_S = 30.0
CANCEL_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class DrainReport:
    """What a drain came to: entries finished during it, and entries given back unfinished."""

    finished: int = 0
    released: int = 0

    def __add__(self, other: DrainReport) -> DrainReport:
        return DrainReport(self.finished + other.finished, self.released + other.released)


@dataclass(frozen=True)
class Failure:
    """A delivery that did not succeed; `retry_in_s` is None where the entry became a dead letter."""

    stream: str
    group: str
    entry_id: str
    deliveries: int
    error: BaseException
    retry_in_s: float | None


@dataclass(frozen=True)
class Route:
    """Which entries a subscription consumes, as whom, and where its dead letters go."""

    stream: str
    dead_stream: str
    group: str
    consumer: str
    concurrency: int = 1
    max_deliveries: int = 5


class Subscription:
    """Consumes one stream for one group until it is drained or stopped."""

    def __init__(
        self,
        transport: StreamTransport,
        route: Route,
        handle: Handle,
        *,
        settings: DeliverySettings,
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._transport = transport
        self._route = route
        self._handle = handle
        self._settings = settings
        self._on_failure = on_failure
        self._task: asyncio.Task[None] | None = None
        self._away: BusError | None = None
        self._draining = False
        self._finished = 0
        self._reader: asyncio.Task[None] | None = None
        self._held = Held(route.concurrency, settings)
        self._done: list[str] = []
        self._unacknowledged = asyncio.Event()
        self._recovering = True
        self._claim_due_s = 0.0

    async def start(self) -> None:
        """Make the group, then consume in a task that this subscription owns.

        Raises:
            BusError: the bus did not answer within 30 s, or refused.
        """
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._until_answered(self._ensure_group)
        except TimeoutError as exc:
            raise self._away or BusUnavailable(f"no answer within {OPEN_TIMEOUT_S:g} s") from exc
        self._task = asyncio.create_task(self._run(), name=f"consume {self._route.stream}")

    async def drain(self, timeout_s: float) -> DrainReport:
        """Take nothing new, let handlers finish for `timeout_s`, give back the rest."""
        if self._task is None:
            return DrainReport()
        before = self._finished
        self._draining = True
        if self._reader is not None:
            self._reader.cancel()
        self._held.drop_retries()
        await self._wait_idle(timeout_s)
        await self._end_task()
        return DrainReport(self._finished - before, await self._release())

    async def stop(self) -> None:
        """Cancel handlers and give back what they held."""
        await self.drain(0.0)

    # The tasks.

    async def _run(self) -> None:
        while not self._draining:
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._reader = tasks.create_task(self._read())
                    tasks.create_task(self._acknowledge())
                    tasks.create_task(self._renew())
                    for _ in range(self._route.concurrency):
                        tasks.create_task(self._work())
            except* Exception as crash:
                # A fault of the loop itself: say so and begin anew; what was held is still pending.
                log.exception("subscription.crashed", extra=self._names(), exc_info=crash)
            self._held.drop_retries()
            self._begin_anew()
            await asyncio.sleep(self._settings.reconnect_max_s)

    async def _read(self) -> None:
        pause_s = self._settings.reconnect_s
        while True:
            count = await self._held.wait_for_room()
            try:
                await self._fetch(count)
            except GroupMissing as exc:
                log.warning("subscription.group_missing", extra={**self._names(), "error": str(exc)})
                await self._until_answered(self._ensure_group)
            except BusError as exc:
                self._say_away(exc)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, self._settings.reconnect_max_s)
                self._recovering = True  # what the broken read had fetched is pending under our name
            else:
                self._say_back()
                pause_s = self._settings.reconnect_s

    async def _fetch(self, count: int) -> None:
        now_s = time.monotonic()
        if self._recovering:
            taken = await self._fetch_own(count)
            self._recovering = bool(taken)
            self._held.add(taken)
        elif now_s >= self._claim_due_s:
            taken = await self._fetch_idle(count)
            if not taken:
                self._claim_due_s = now_s + self._settings.claim_idle_s
            self._held.add(taken)
        else:
            taken = await self._fetch_new(count)
            if not taken:
                self._claim_due_s = now_s
            self._held.add(taken)
            if len(taken) == 1:
                await asyncio.sleep(0)  # its handler first: to ask for more takes as long as many a handler

    async def _work(self) -> None:
        while True:
            delivery = self._held.take() or await self._held.next()
            took_s = None
            try:
                is_new = delivery.counted and delivery.entry.fields
                if not is_new and not await self._is_due(delivery):
                    continue
                began_s = time.perf_counter()
                try:
                    try:
                        await self._handle(delivery)
                    finally:
                        took_s = time.perf_counter() - began_s
                except Undeliverable as exc:
                    await self._bury(delivery, exc.__cause__ or exc)
                except asyncio.CancelledError as exc:
                    task = asyncio.current_task()
                    if task is not None and task.cancelling():
                        raise
                    await self._failed(delivery, exc)  # raised by the handler itself; nobody cancelled it
                except (Exception, SystemExit) as exc:
                    await self._failed(delivery, exc)
                else:
                    self._done.append(delivery.entry.id)
                    self._unacknowledged.set()
            finally:
                self._held.worked(took_s)

    async def _acknowledge(self) -> None:
        route = self._route
        while True:
            await self._unacknowledged.wait()
            while ids := self._done[:ACKS_AT_ONCE]:
                del self._done[:ACKS_AT_ONCE]
                await self._until_answered(partial(self._transport.ack, route.stream, route.group, ids))
                self._settled(ids)
            self._unacknowledged.clear()

    async def _renew(self) -> None:
        route = self._route
        while True:
            await self._held.wait_for_any()
            await asyncio.sleep(self._settings.claim_idle_s / 3)
            if not self._held:
                continue
            try:
                await self._transport.renew(route.stream, route.group, route.consumer, self._held.ids)
            except (BusError, GroupMissing):
                continue  # the reader meets the same failure and says so

    # One entry.

    async def _is_due(self, delivery: Delivery) -> bool:
        """Tell whether an entry is still ours to handle; one that is not fit for it becomes a dead letter."""
        if not delivery.counted and not await self._count_again(delivery):
            return False
        if not delivery.entry.fields:
            await self._bury(delivery, Undeliverable("the entry was deleted before it was handled"))
            return False
        if delivery.deliveries > self._route.max_deliveries:
            why = f"its consumer ended {self._route.max_deliveries} times while handling it"
            await self._bury(delivery, Undeliverable(why))
            return False
        return True

    async def _failed(self, delivery: Delivery, error: BaseException) -> None:
        if delivery.deliveries >= self._route.max_deliveries:
            await self._bury(delivery, error)
            return
        pause_s = self._settings.retry_pause_s(delivery.deliveries)
        self._report(delivery, error, pause_s)
        if self._draining:
            self._held.let_go([delivery.entry.id])
        else:
            self._held.retry_later(delivery, pause_s)

    async def _count_again(self, delivery: Delivery) -> bool:
        route, entry = self._route, delivery.entry
        count = await self._until_answered(
            lambda: self._transport.redeliver(route.stream, route.group, route.consumer, entry.id)
        )
        if not count:
            self._held.let_go([entry.id])  # another consumer has it by now, or the group is gone
            return False
        delivery.deliveries, delivery.counted = count, True
        return True

    async def _bury(self, delivery: Delivery, error: BaseException) -> None:
        route = self._route
        self._report(delivery, error, None)
        fields = dead_letter_fields(delivery, error, stream=route.stream, group=route.group)
        await self._until_answered(
            lambda: self._transport.dead_letter(
                route.stream,
                route.group,
                delivery.entry.id,
                dead_stream=route.dead_stream,
                fields=fields,
                max_len=self._settings.dead_max_len,
            )
        )
        self._settled([delivery.entry.id])

    def _settled(self, entry_ids: Collection[str]) -> None:
        self._finished += len(entry_ids)
        self._held.let_go(entry_ids)

    def _begin_anew(self) -> None:
        self._held = Held(self._route.concurrency, self._settings)
        self._done.clear()
        self._unacknowledged.clear()
        self._recovering = True
        self._claim_due_s = 0.0

    # The end.

    async def _wait_idle(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self._held.wait_empty()
        except TimeoutError:
            if timeout_s > 0:
                log.info("subscription.drain_timed_out", extra={**self._names(), "held": len(self._held)})

    async def _end_task(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            _, late = await asyncio.wait({task}, timeout=CANCEL_TIMEOUT_S)
            if late:
                log.warning("subscription.handler_ignores_cancellation", extra=self._names())

    async def _release(self) -> int:
        route = self._route
        try:
            return await self._transport.release(route.stream, route.group, route.consumer)
        except (BusError, GroupMissing):
            return len(self._held)  # they stay pending; another consumer takes them when they are idle

    # The bus.

    async def _ensure_group(self) -> None:
        await self._transport.ensure_group(self._route.stream, self._route.group)

    async def _fetch_own(self, count: int) -> list[Delivery]:
        route = self._route
        return await self._transport.read_own_pending(
            route.stream, route.group, route.consumer, count=count, except_ids=self._held.ids
        )

    async def _fetch_new(self, count: int) -> list[Delivery]:
        route = self._route
        return await self._transport.read_group(
            route.stream, route.group, route.consumer, count=count, block_s=self._settings.block_s
        )

    async def _fetch_idle(self, count: int) -> list[Delivery]:
        route = self._route
        return await self._transport.claim_idle(
            route.stream, route.group, route.consumer, min_idle_s=self._settings.claim_idle_s, count=count
        )

    async def _until_answered(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Repeat a request while the bus is away; None where the group is gone."""
        pause_s = self._settings.reconnect_s
        while True:
            try:
                answer = await ask()
            except GroupMissing:
                return None
            except BusError as exc:
                self._say_away(exc)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, self._settings.reconnect_max_s)
            else:
                self._say_back()
                return answer

    # What it says.

    def _report(self, delivery: Delivery, error: BaseException, retry_in_s: float | None) -> None:
        self._on_failure(
            Failure(
                self._route.stream,
                self._route.group,
                delivery.entry.id,
                delivery.deliveries,
                error,
                retry_in_s,
            )
        )

    def _say_away(self, exc: BusError) -> None:
        if self._away is None:
            log.warning("subscription.bus_away", extra={**self._names(), "error": str(exc)})
        self._away = exc

    def _say_back(self) -> None:
        if self._away is not None:
            self._away = None
            log.info("subscription.bus_back", extra=self._names())

    def _names(self) -> dict[str, str]:
        return {"stream": self._route.stream, "group": self._route.group, "consumer": self._route.consumer}
