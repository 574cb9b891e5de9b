"""Asks a replica in this process: its ASGI application is called as a server would call it."""

from __future__ import annotations

import asyncio

from components.gateway.deadlines import Deadline
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
        task = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        answer = _Answer(request)
        deadline = request.body.deadline = Deadline(request.deadlines, task.cancel)
        try:
            await self._app(_scope(request), request.body.receive, answer.send)
        except asyncio.CancelledError as exc:
            if not deadline.passed or task.cancelling() > cancelled_before + 1:
                raise
            raise Unanswered(late(request), resend=False) from exc
        finally:
            request.body.end_deadline()
            if deadline.passed:
                task.uncancel()
        if answer.refused:
            raise Unanswered(not_ready(request.component), resend=True, untouched=True)

    async def close(self) -> None:
        """Do nothing: the application belongs to its host."""


class _Answer:
    """Passes an answer on to the client, unless it says that the replica is draining."""

    __slots__ = ("_request", "refused")

    def __init__(self, request: Request) -> None:
        self._request = request
        self.refused = False

    async def send(self, message: AsgiMessage) -> None:
        if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
            # The clock stops: an answer may take as long as it likes to end.
            self._request.body.end_deadline()
            headers = message.get("headers", ())
            kept = answer_headers(headers)
            if len(kept) != len(headers):
                self.refused = any(name == REFUSED for name, _ in headers)
                message = {**message, "headers": kept}
        if not self.refused:
            await self._request.send(message)


def _scope(request: Request) -> Scope:
    """Return the scope that a server behind a socket would make of the same request."""
    outbound = request.outbound
    # A component behind a socket is told of the chunks that its connection has.
    chunked = [(b"transfer-encoding", b"chunked")] if outbound.chunked else []
    return {
        **request.scope,
        "client": (outbound.client, 0) if outbound.client else None,
        "headers": [*outbound.headers, *chunked],
        "http_version": "1.1",
        "root_path": "",
        "scheme": _scheme(request),
    }


def _scheme(request: Request) -> str:
    if request.scope["type"] == "websocket":
        return request.outbound.scheme.replace("http", "ws")
    return request.outbound.scheme
