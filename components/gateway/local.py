"""Asks a replica in this process: its ASGI application is called as a server would call it."""

from __future__ import annotations

import asyncio

from components.gateway.headers import answer_headers
from components.gateway.request import Request, Unanswered, late
from contracts.component import AsgiApp, AsgiMessage, Endpoint, Scope
from contracts.problems import REFUSED, not_ready


class LocalReplica:
    """A replica in this process."""

    def __init__(self, endpoint: Endpoint, app: AsgiApp) -> None:
        self.endpoint = endpoint
        self.in_flight = 0
        self._app = app

    async def answer(self, request: Request) -> None:
        """Have the application answer.

        Raises:
            Unanswered: it is draining, or did not begin to answer in time.
        """
        answer = _Answer(request)
        try:
            async with asyncio.timeout(request.timeout_s) as answer.deadline:
                request.body.deadline = answer.deadline
                await self._app(_scope(request), request.body.receive, answer.send)
        except TimeoutError as exc:
            if answer.deadline is None or not answer.deadline.expired():
                raise
            raise Unanswered(late(request.component, request.timeout_s), resend=False) from exc
        finally:
            request.body.deadline = None
        if answer.refused:
            raise Unanswered(not_ready(request.component), resend=True, untouched=True)

    async def close(self) -> None:
        """Do nothing: the application belongs to its host."""


class _Answer:
    """Passes an answer on to the client, unless it says that the replica is draining."""

    __slots__ = ("_request", "deadline", "refused")

    def __init__(self, request: Request) -> None:
        self._request = request
        self.deadline: asyncio.Timeout | None = None
        self.refused = False

    async def send(self, message: AsgiMessage) -> None:
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            self._begun()
            headers = message.get("headers", ())
            self.refused = any(name == REFUSED for name, _ in headers)
            message = {**message, "headers": answer_headers(headers)}
        if not self.refused:
            await self._request.send(message)

    def _begun(self) -> None:
        """Stop the clock: an answer may take as long as it likes to end."""
        self._request.body.deadline = None
        if self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(None)


def _scope(request: Request) -> Scope:
    """Return the scope that a server behind a socket would make of the same request."""
    # A component behind a socket is told of the chunks that its connection has.
    chunked = [(b"transfer-encoding", b"chunked")] if request.chunked else []
    return {
        **request.scope,
        "client": (request.client, 0) if request.client else None,
        "headers": [*request.headers, *chunked],
        "http_version": "1.1",
        "root_path": "",
        "scheme": _scheme(request),
    }


def _scheme(request: Request) -> str:
    if request.scope["type"] == "websocket":
        return request.scheme.replace("http", "ws")
    return request.scheme
