"""The control plane's end of the anchor's socket.

Every request has a deadline. Events are queued until they are read; when they are not, the socket is
not read any further either. Once the connection is gone, every call raises `AnchorGone` (E2010).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from contracts.errors import CoplaneError, LaunchError
from contracts.specs import HostSpec
from control_plane.runtime import clock, processes
from control_plane.runtime.anchor_protocol import (
    MAX_ANSWER_BYTES,
    AnchorEvent,
    Answer,
    Done,
    Hello,
    Lines,
    LineTooLong,
    Refused,
    Remember,
    Request,
    RestartBus,
    Shutdown,
    SignalHost,
    Spawn,
    Spawned,
    Welcome,
    read_answer,
    to_line,
)

REQUEST_TIMEOUT_S = 10.0
EVENTS_QUEUED = 1000
# Others may hear of a death before the end of the connection is read.
NOTICE_S = 0.05

_A = TypeVar("_A", Welcome, Spawned, Done)


class AnchorGone(LaunchError):
    """The anchor has died, or does not answer; its hosts stop by themselves where it has died."""

    code = "E2010"


class AnchorClient:
    """In control of an anchor, until the connection ends or somebody else takes over."""

    def __init__(self, wire: _Wire, welcome: Welcome) -> None:
        self._wire = wire
        self._process = processes.find(welcome.anchor_pid)
        self.welcome = welcome

    @classmethod
    async def connect(cls, path: Path, *, pid: int, timeout_s: float, epoch: int = 0) -> AnchorClient:
        """Take control; the anchor answers once its Valkey does.

        Args:
            epoch: the leader's term; an anchor obeys no lower one than it has seen.

        Raises:
            AnchorGone: nobody answers.
            LaunchError: it is stopping or in better hands (E2006).
        """
        loop = asyncio.get_running_loop()
        try:
            _, wire = await loop.create_unix_connection(_Wire, str(path))
        except OSError as exc:
            raise _gone(f"nobody answers on {path}") from exc
        try:
            welcome = await wire.ask(
                lambda number: Hello(id=number, pid=pid, epoch=epoch), Welcome, timeout_s=timeout_s
            )
        except BaseException:
            wire.close()
            raise
        return cls(wire, welcome)

    @property
    def public_fds(self) -> tuple[int, ...]:
        """The numbers of the gateway's listening sockets in hosts."""
        return self.welcome.public_fds

    @property
    def public_urls(self) -> tuple[str, ...]:
        """Where clients of the backend connect; first the address that is there for all components."""
        return self.welcome.public_urls

    @property
    def public_url(self) -> str:
        """The first of these, empty where there is none."""
        return next(iter(self.public_urls), "")

    async def spawn(self, spec: HostSpec) -> int:
        """Start a host; return its process id. It may take as long as its components may take to start.

        Raises:
            LaunchError: it could not be started, or the anchor is gone (AnchorGone).
            ControlError: the anchor is stopping (E3007).
        """
        limit_s = max((replica.component.startup_timeout_s for replica in spec.replicas), default=0.0)
        spawned = await self._wire.ask(
            lambda number: Spawn(id=number, spec=spec), Spawned, timeout_s=limit_s + REQUEST_TIMEOUT_S
        )
        return spawned.pid

    async def signal(self, host: str, signum: int, *, within_s: float | None = None) -> bool:
        """Send a signal to a host, or SIGKILL to its whole group; nothing happens to one that has ended.

        Args:
            within_s: for how long the order is valid.

        Returns:
            Whether the anchor obeyed; not where it came to the order later than that.
        """
        not_after_s = None if within_s is None else clock.now_s() + within_s
        done = await self._wire.ask(
            lambda number: SignalHost(id=number, host=host, signum=signum, not_after_s=not_after_s), Done
        )
        return done.in_time

    def disown(self, host: str) -> None:
        """Let a host end whose start was not answered in time; returns at once.

        An anchor that was frozen obeys everything in order: it still starts the host, and then ends it.
        """
        self._wire.send(lambda number: SignalHost(id=number, host=host, signum=signal.SIGKILL))

    async def remember(self, memory: dict[str, Any]) -> None:
        """Leave a JSON object for the next control plane; `welcome.memory` is what the last one left."""
        await self._wire.ask(lambda number: Remember(id=number, memory=memory), Done)

    async def restart_bus(self) -> None:
        """Stop the embedded Valkey and start it again; `events` tells when.

        Raises:
            ControlError: the bus is not the anchor's.
        """
        await self._wire.ask(lambda number: RestartBus(id=number), Done)

    async def shutdown(self, *, timeout_s: float) -> None:
        """Stop every host, then Valkey, then the anchor; return when it is gone.

        Raises:
            LaunchError: it is not gone in time.
        """
        with contextlib.suppress(CoplaneError):
            await self._wire.ask(lambda number: Shutdown(id=number), Done)
        try:
            async with asyncio.timeout(timeout_s):
                await self._wire.closed.wait()
        except TimeoutError as exc:
            raise LaunchError(
                f"the anchor (process {self.welcome.anchor_pid}) did not end within {timeout_s:g} s",
                code="E2010",
            ) from exc
        finally:
            self._wire.close()

    async def died(self, *, within_s: float) -> bool:
        """Tell whether the anchor has died; not where it serves us, or somebody else.

        Asks for the process and not on its socket: the kernel closes a dying process's connections one by
        one, and its door may stay open for a moment after the connection to us.

        Args:
            within_s: how long its process may take to end, once the connection has.
        """
        try:
            async with asyncio.timeout(NOTICE_S):
                await self._wire.closed.wait()
        except TimeoutError:
            return False
        return self._process is None or await processes.until_ended([self._process], within_s=within_s)

    def close(self) -> None:
        """Give up control; hosts go on, and somebody else may take over."""
        self._wire.close()

    async def events(self) -> AsyncIterator[AnchorEvent]:
        """Iterate over what happens, until the connection ends."""
        while (event := await self._wire.next_event()) is not None:
            yield event


class _Wire(asyncio.Protocol):
    """Sends requests, matches answers to them, queues events."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self._lines = Lines(MAX_ANSWER_BYTES)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        # Bounded by not reading the socket.
        self._events: asyncio.Queue[AnchorEvent | None] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None

    async def ask(
        self, make: Callable[[int], Request], kind: type[_A], *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> _A:
        """Send the request made with the next number, and return the answer."""
        number = self.send(make)
        if number is None:
            raise _gone("the connection to it has ended")
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            async with asyncio.timeout(timeout_s):
                answer = await waiting
        except TimeoutError as exc:
            raise _gone(f"it did not answer within {timeout_s:g} s") from exc
        finally:
            self._waiting.pop(number, None)
        if isinstance(answer, Refused):
            raise CoplaneError.from_dict(answer.error)
        if not isinstance(answer, kind):
            raise _gone(f"it answered with '{answer.type}' where '{kind.__name__.lower()}' was due")
        return answer

    def send(self, make: Callable[[int], Request]) -> int | None:
        """Send the request made with the next number, and return that; None where nobody is there."""
        if self._transport is None or self.closed.is_set():
            return None
        number = next(self._numbers)
        self._transport.write(to_line(make(number)))
        return number

    async def next_event(self) -> AnchorEvent | None:
        """Return the next event, or None when there will be none."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
        elif self._transport is not None and self._events.empty() and not self.closed.is_set():
            self._transport.resume_reading()
        return event

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take every complete line; a peer that speaks something else is no anchor."""
        try:
            for line in self._lines.feed(data):
                self._take(read_answer(line))
        except (ValidationError, LineTooLong):
            self.close()

    def _take(self, message: Answer | AnchorEvent) -> None:
        if isinstance(message, AnchorEvent):
            self._events.put_nowait(message)
            if self._events.qsize() >= EVENTS_QUEUED and self._transport is not None:
                self._transport.pause_reading()
            return
        waiting = self._waiting.get(message.re) if message.re is not None else None
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everybody who waits."""
        self.closed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_gone("the connection to it has ended"))
        self._events.put_nowait(None)


def _gone(why: str) -> AnchorGone:
    return AnchorGone(
        "the anchor, which holds the hosts, is gone",
        why=why,
        fix="see anchor.log in the runtime folder's logs, then run `ctl launch` again",
    )
