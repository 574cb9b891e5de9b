"""Clients of a running backend, at a steady rate, that hold every answer against it.

Plain, posted and streamed requests over kept connections, and streams that connect again when they are
told to. Whatever a client would call a failure is noted with its time; nothing is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

SERVICE_RESTART = 1012
TIMEOUT_S = 15.0
CLIENTS = 32
# Streams stay until they are told to leave, or go by themselves: so each replica has some, the newest too.
STAYS_S = (math.inf, math.inf, 0.3, 0.4)
BODY = bytes(range(256)) * 8


@dataclass
class Report:
    """What the clients saw. `answered` counts by kind, `closed` the streams that were closed properly."""

    answered: Counter[str] = field(default_factory=Counter)
    closed: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)
    slowest_s: float = 0.0

    def fail(self, kind: str, why: object) -> None:
        """Note a failure and when it happened."""
        at_s = time.monotonic() - self.began_s
        self.failures.append(f"{at_s:.3f} s: {kind}: {why if isinstance(why, str) else repr(why)}")

    @property
    def rate_per_s(self) -> float:
        """Return how many requests were answered a second, so far."""
        return sum(self.answered.values()) / (time.monotonic() - self.began_s)


@contextlib.asynccontextmanager
async def under_load(
    url: str, *, agents: Sequence[str], echo: str = "/agents/echo", rate_per_s: float = 300.0
) -> AsyncIterator[Report]:
    """Keep clients busy at a backend as long as the block lasts; `echo` is where `Echo` answers."""
    report = Report()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        clients = _Clients(session, report, agents=agents, echo=echo)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            numbers = itertools.count()
            began_s = time.monotonic()
            for _ in range(CLIENTS):
                tasks.create_task(clients.ask_on(numbers, began_s, rate_per_s, stop))
            streams = [
                tasks.create_task(stream(stay_s))
                for stream in (clients.follow, clients.talk)
                for stay_s in STAYS_S
            ]
            try:
                yield report
            finally:
                stop.set()
                for stream in streams:
                    stream.cancel()


class _Clients:
    def __init__(
        self, session: aiohttp.ClientSession, report: Report, *, agents: Sequence[str], echo: str
    ) -> None:
        self._session = session
        self._report = report
        self._echo = echo
        self._kinds: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("post", self._post),
            ("streamed", self._streamed),
            ("slow", self._slow),
        ]
        for agent in agents:
            self._kinds += [("get", _card(self, agent)), ("post", self._post)]

    async def ask_on(
        self, numbers: itertools.count[int], began_s: float, rate_per_s: float, stop: asyncio.Event
    ) -> None:
        """Send each request in its turn; a client whose answer is late is late with its next one."""
        while not stop.is_set():
            number = next(numbers)
            await asyncio.sleep(began_s + number / rate_per_s - time.monotonic())
            kind, ask = self._kinds[number % len(self._kinds)]
            sent_s = time.monotonic()
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await ask()
            except (aiohttp.ClientError, OSError, AssertionError, TimeoutError) as exc:
                self._report.fail(kind, exc)
            else:
                self._report.answered[kind] += 1
            self._report.slowest_s = max(self._report.slowest_s, time.monotonic() - sent_s)

    async def get_card(self, agent: str) -> None:
        """Ask an agent who it is."""
        async with self._session.get(f"/agents/{agent}/") as answer:
            assert answer.status == 200, await _told(answer)
            assert (await answer.json())["agent"] == agent

    async def _slow(self) -> None:
        async with self._session.get(f"{self._echo}/slow") as answer:
            assert answer.status == 200, await _told(answer)
            assert await answer.read() == b"slow"

    async def _post(self) -> None:
        await self._expect_back(BODY)

    async def _streamed(self) -> None:
        """Send a body that nobody could send a second time."""
        await self._expect_back(_pieces())

    async def _expect_back(self, body: bytes | AsyncIterator[bytes]) -> None:
        async with self._session.post(f"{self._echo}/", data=body) as answer:
            assert answer.status == 200, await _told(answer)
            assert await answer.read() == BODY

    async def follow(self, stay_s: float) -> None:
        """Read events; an end is proper when the body is whole."""
        while True:
            try:
                async with self._session.get(f"{self._echo}/ticks") as answer:
                    assert answer.status == 200, await _told(answer)
                    if await _ended(answer, stay_s):
                        self._report.closed["events"] += 1
            except (aiohttp.ClientError, OSError, AssertionError) as exc:
                self._report.fail("events", exc)
                await asyncio.sleep(0.1)

    async def talk(self, stay_s: float) -> None:
        """Send words and get them back; a close is proper when it says to come again."""
        while True:
            try:
                async with self._session.ws_connect(f"{self._echo}/ws") as socket:
                    code = await _closed(socket, stay_s)
                assert code in (None, SERVICE_RESTART), f"closed with {code}"
                self._report.closed["websocket"] += code is not None
            except (aiohttp.ClientError, OSError, AssertionError) as exc:
                self._report.fail("websocket", exc)
                await asyncio.sleep(0.1)


def _card(clients: _Clients, agent: str) -> Callable[[], Awaitable[None]]:
    return lambda: clients.get_card(agent)


async def _pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(BODY), 512):
        yield BODY[at : at + 512]
        await asyncio.sleep(0.005)


async def _ended(answer: aiohttp.ClientResponse, stay_s: float) -> bool:
    """Read events; return whether their end came before we left."""
    leave_s = time.monotonic() + stay_s
    async for line in answer.content:
        assert line in (b"data: tick\n", b"\n"), line
        if time.monotonic() > leave_s:
            return False
    return True


async def _closed(socket: aiohttp.ClientWebSocketResponse, stay_s: float) -> int | None:
    """Send words and get them back; return the code of a close that came before we left."""
    leave_s = time.monotonic() + stay_s
    for number in itertools.count():
        if time.monotonic() > leave_s:
            return None
        with contextlib.suppress(ConnectionError):  # closed already: the next message says how
            await socket.send_str(str(number))
        message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT:
            return socket.close_code or 0
        assert message.data == str(number), message.data
        await asyncio.sleep(0.05)
    raise AssertionError("unreachable")


async def _told(answer: aiohttp.ClientResponse) -> str:
    return f"{answer.status} {(await answer.text())[:200]}"
