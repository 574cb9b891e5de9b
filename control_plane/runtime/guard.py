"""The wall around a component's application: its faults become answers, its streams end at a drain.

An exception that escapes a route is reported and answered with the same 500 in every mode; where the
response had begun, the connection is broken off, so that a client never takes half for the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from contracts.component import AsgiApp, AsgiMessage, Receive, Scope, Send
from control_plane.runtime.problem import send_problem

HELD_BYTES = 65_536
RETRY_AFTER_S = 1
SERVICE_RESTART = 1012  # RFC 6455 registry: the server restarts, try again


class ResponseBroken(Exception):
    """The response had begun when its route failed; reported already."""


class Guard:
    """Stands in front of one replica's application; counts what is in flight.

    Args:
        app: the component's application.
        component: its name.
        replica: the replica's id.
        on_error: told of every exception that escapes a route.
        on_enter: called at the start of each request, in its task.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        component: str,
        replica: str,
        on_error: Callable[[str, BaseException], None],
        on_enter: Callable[[], object],
    ) -> None:
        self._app = app
        self._component = component
        self._replica = replica
        self._on_error = on_error
        self._on_enter = on_enter
        self._exchanges: set[_Exchange] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    @property
    def in_flight(self) -> int:
        """Return how many requests and connections are open."""
        return len(self._exchanges)

    def drain(self) -> None:
        """Refuse what is new, and end event streams and WebSockets; plain requests go on."""
        self._draining = True
        for exchange in list(self._exchanges):
            exchange.end_stream()

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; return whether that came about within `timeout_s`."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or hold one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            return
        if self._draining:
            title = f"{self._replica} is draining"
            await send_problem(scope, send, 503, title, code="E5010", retry_after_s=RETRY_AFTER_S)
            return
        self._on_enter()
        exchange = _Exchange(scope, receive, send)
        self._exchanges.add(exchange)
        self._idle.clear()
        try:
            await self._answer(exchange)
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._idle.set()

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if not exchange.ended:
                raise
            exchange.task.uncancel()
        except ResponseBroken:
            raise
        except (Exception, SystemExit) as exc:
            # SystemExit would end the event loop, and every neighbour with it.
            if exchange.ended:
                return
            self._on_error(self._component, exc)
            await self._answer_fault(exchange, exc)
            return
        await exchange.finish()

    async def _answer_fault(self, exchange: _Exchange, exc: BaseException) -> None:
        if exchange.started:
            raise ResponseBroken(f"component '{self._component}' failed in the middle of a response") from exc
        title = f"component '{self._component}' failed to answer"
        await send_problem(exchange.scope, exchange.send_on, 500, title, code="E5006")


class _Exchange:
    """One request with its response, or one WebSocket.

    A 500 is held back until the application is done: frameworks send one of their own before they let
    the exception go.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.send_on = send
        self.started = False
        self.ended = False
        self._receive = receive
        self._is_socket = scope["type"] == "websocket"
        self._is_stream = self._is_socket
        self._accepted = False
        self._held: list[AsgiMessage] = []
        self._held_bytes = 0
        task = asyncio.current_task()
        assert task is not None, "requests are answered in tasks"
        self.task: asyncio.Task[Any] = task

    async def receive(self) -> AsgiMessage:
        """Receive for the application."""
        return await self._receive()

    async def send(self, message: AsgiMessage) -> None:
        """Send for the application."""
        kind = message["type"]
        if kind == "http.response.start":
            if message["status"] == 500:
                self._held.append(message)
                return
            self._is_stream = _is_event_stream(message)
        elif kind == "websocket.accept":
            self._accepted = True
        elif self._held:
            await self._hold(message)
            return
        self.started = True
        await self.send_on(message)

    async def finish(self) -> None:
        """Send what was held back; end a stream that a drain has cut short."""
        await self._flush()
        if not self.ended:
            return
        if self._is_socket:
            await self.send_on({"type": "websocket.close", "code": SERVICE_RESTART, "reason": "draining"})
        else:
            await self.send_on({"type": "http.response.body", "body": b""})

    def end_stream(self) -> None:
        """End the exchange if it is an event stream or a WebSocket; a plain request may finish."""
        if self._is_stream and not self.ended:
            self.ended = True
            self.task.cancel()

    async def _hold(self, message: AsgiMessage) -> None:
        self._held.append(message)
        self._held_bytes += len(message.get("body", b""))
        if self._held_bytes > HELD_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self.started = True
            await self.send_on(message)


def _is_event_stream(message: AsgiMessage) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream")
        for name, value in message.get("headers", ())
    )
