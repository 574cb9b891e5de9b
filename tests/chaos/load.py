"""Clients of the backend that note every request: when, of whom, and what came of it.

Only requests that need no bus are asked for their own sake: the gateway's health, the agents' cards, and
what `Echo` gives back, over HTTP and WebSocket. Stories, which need it, are in `stories.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.chaos.record import Request
from tests.e2e.test_faults import AGENTS

ANSWER_TIMEOUT_S = 15.0
SERVICE_RESTART = 1012
REQUESTS_PER_S = 40.0
CLIENTS = 16
STREAMS = 3
PAUSE_S = 0.2
BODY = bytes(range(256)) * 8

Note = Callable[[Request], None]
FAILURES = (aiohttp.ClientError, OSError, TimeoutError, AssertionError)


class Load:
    """Plain requests at a steady rate, and streams that connect again whenever they end."""

    def __init__(self, session: aiohttp.ClientSession, note: Note, *, now_s: Callable[[], float]) -> None:
        self._session = session
        self._note = note
        self._now_s = now_s
        self._asks: list[tuple[str, str, Callable[[], Coroutine[Any, Any, None]]]] = [
            ("health", "gateway", self._health),
            ("echo", "echo", self._echo),
            *(("card", agent, _card_of(self, agent)) for agent in AGENTS if agent != "director"),
        ]

    async def run(self) -> None:
        """Go on until cancelled."""
        numbers, began_s = itertools.count(), time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(self._ask_on(numbers, began_s))
            for _ in range(STREAMS):
                tasks.create_task(self._stay("events", self._follow))
                tasks.create_task(self._stay("websocket", self._talk))

    async def _ask_on(self, numbers: itertools.count[int], began_s: float) -> None:
        for number in numbers:
            await asyncio.sleep(began_s + number / REQUESTS_PER_S - time.monotonic())
            kind, component, ask = self._asks[number % len(self._asks)]
            await self._noted(kind, component, ask)

    async def _stay(self, kind: str, connect: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            if await self._noted(kind, "echo", connect, timeout_s=None):
                await asyncio.sleep(PAUSE_S)

    async def _noted(
        self,
        kind: str,
        component: str,
        ask: Callable[[], Coroutine[Any, Any, None]],
        *,
        timeout_s: float | None = ANSWER_TIMEOUT_S,
    ) -> str:
        sent_s, failure = self._now_s(), ""
        try:
            async with asyncio.timeout(timeout_s):
                await ask()
        except FAILURES as exc:
            failure = repr(exc)
        self._note(Request(kind, component, sent_s, self._now_s(), failure))
        return failure

    # What is asked.

    async def _health(self) -> None:
        async with self._session.get("/-/health") as answer:
            assert answer.status == 200, await told(answer)

    async def card(self, agent: str) -> None:
        """Ask an agent who it is."""
        async with self._session.get(f"/agents/{agent}/") as answer:
            assert answer.status == 200, await told(answer)
            assert (await answer.json())["agent"] == agent

    async def _echo(self) -> None:
        async with self._session.post("/agents/echo/", data=BODY) as answer:
            assert answer.status == 200, await told(answer)
            assert await answer.read() == BODY

    async def _follow(self) -> None:
        """Read events until a proper end; a body that breaks off raises."""
        async with self._session.get("/agents/echo/ticks") as answer:
            assert answer.status == 200, await told(answer)
            async for line in answer.content:
                assert line in (b"data: tick\n", b"\n"), line

    async def _talk(self) -> None:
        """Exchange words until the other side says to come again."""
        async with self._session.ws_connect("/agents/echo/ws") as socket:
            for number in itertools.count():
                try:
                    await socket.send_str(str(number))
                    message = await socket.receive(ANSWER_TIMEOUT_S)
                except ConnectionError:  # closed already; how, the socket knows
                    message = await socket.receive(ANSWER_TIMEOUT_S)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    assert socket.close_code == SERVICE_RESTART, f"closed with {socket.close_code}"
                    return
                assert message.data == str(number), message.data
                await asyncio.sleep(PAUSE_S)


def _card_of(load: Load, agent: str) -> Callable[[], Coroutine[Any, Any, None]]:
    return lambda: load.card(agent)


@asynccontextmanager
async def client(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session whose connections are as many as needed and end when the other side is silent."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_TIMEOUT_S, sock_read=ANSWER_TIMEOUT_S)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as session:
        yield session


async def told(answer: aiohttp.ClientResponse) -> str:
    """Return an answer that was not expected, as far as one wants to read it."""
    return f"{answer.status} {(await answer.text())[:200]}"
