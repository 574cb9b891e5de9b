"""One client request on its way through the gateway, and the ways in which it gets no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from components.gateway.deadlines import Deadline, Deadlines
from components.gateway.headers import Outbound
from contracts.component import AsgiMessage, Receive, Scope, Send
from contracts.errors import ComponentError
from contracts.problems import Problem, problem

# A body whole, in pieces as they come, or none.
Payload = bytes | AsyncGenerator[bytes, None] | None

# RFC 9110, section 9.2.2: sending one of these twice does what sending it once does.
IDEMPOTENT = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})


@dataclass(slots=True)
class Request:
    """What a replica needs to answer; the same for one in this process and one behind a socket."""

    component: str
    scope: Scope
    receive: Receive
    send: Send
    outbound: Outbound
    body: RequestBody
    deadlines: Deadlines

    @classmethod
    def of(
        cls,
        component: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        outbound: Outbound,
        deadlines: Deadlines,
    ) -> Request:
        """Return the request that a server has handed us, with the headers that it is to have."""
        body = RequestBody(
            receive,
            expected=outbound.has_body,
            in_pieces=outbound.chunked or outbound.waits_for_continue,
        )
        return cls(component, scope, receive, send, outbound, body, deadlines)


class Unanswered(Exception):
    """A replica gave no answer; with `resend`, another one may be asked.

    `untouched`: the request has not reached the replica's component, and cannot have broken it.
    """

    def __init__(self, answer: Problem, *, resend: bool, untouched: bool = False) -> None:
        super().__init__(answer.status)
        self.answer = answer
        self.resend = resend
        self.untouched = untouched


class ClientGone(ConnectionError):
    """The client left in the middle of its request."""


class RequestBody:
    """The body of a request, handed on piece by piece as the replica takes it.

    A body that arrived in one piece with its head is kept until the answer, so that it can be sent
    again; of any other only what is being handed on is in memory, and it goes out once.
    `deadline` counts against the replica only: it rests while the client is the one to send.
    """

    __slots__ = (
        "_end_awaited",
        "_ended",
        "_expected",
        "_first",
        "_in_pieces",
        "_receive",
        "_sent",
        "deadline",
        "gone",
    )

    def __init__(self, receive: Receive, *, expected: bool, in_pieces: bool) -> None:
        self._receive = receive
        self._expected = expected
        self._in_pieces = in_pieces
        self._first: bytes | None = None
        self._sent = False
        self._ended = not expected
        self._end_awaited: asyncio.Event | None = None
        self.deadline: Deadline | None = None
        self.gone = False

    @property
    def can_be_sent(self) -> bool:
        """Tell whether all of it is still here, or yet to come."""
        return not self._sent

    async def payload(self) -> Payload:
        """Return the body for one attempt: nothing, all of it, or its pieces as they come.

        Raises:
            ClientGone: the client left before anything of the body came.
        """
        if not self._expected:
            return None
        if self._first is None and not self._in_pieces:
            self._first = await self._next()
            # A body that fills its first message is one piece; else pieces it is.
            self._in_pieces = not self._ended
        return self._pieces() if self._in_pieces else self._first

    async def receive(self) -> AsgiMessage:
        """Return the next message for an application in this process."""
        if self._first is not None:
            # It was taken in for a replica behind a socket, which has refused it.
            first, self._first = self._first, None
            return {"type": "http.request", "body": first, "more_body": not self._ended}
        if self._ended:
            return await self._receive()
        message = await self._timed_receive()
        if not message.get("more_body", False):
            self._end()
        return message

    def end_deadline(self) -> None:
        """Count no longer: the answer has begun, or never will."""
        if self.deadline is not None:
            self.deadline.stop()
            self.deadline = None

    async def wait_gone(self) -> None:
        """Wait until the client has left; its body comes first."""
        if not self._ended:
            self._end_awaited = asyncio.Event()
            await self._end_awaited.wait()
        while not self.gone:
            self.gone = (await self._receive())["type"] == "http.disconnect"

    async def _pieces(self) -> AsyncGenerator[bytes, None]:
        self._sent = True
        try:
            if self._first is not None:
                yield self._first
                self._first = None
            while not self._ended:
                yield await self._next()
        finally:
            # Also when the replica takes no more of it: from now on, only a departure matters.
            self._end()

    def _end(self) -> None:
        self._ended = True
        if self._end_awaited is not None:
            self._end_awaited.set()

    async def _next(self) -> bytes:
        message = await self._timed_receive()
        if message["type"] == "http.disconnect":
            self.gone = True
            raise ClientGone
        if not message.get("more_body", False):
            self._end()
        body: bytes = message.get("body", b"")
        return body

    async def _timed_receive(self) -> AsgiMessage:
        if self.deadline is not None:
            self.deadline.stop()
        message = await self._receive()
        if self.deadline is not None:
            self.deadline.restart()
        return message


def broke(component: str) -> Problem:
    """Return the 502 of a replica that broke before it answered."""
    error = ComponentError(
        f"the connection to component '{component}' broke before it answered",
        fix=f'See "ctl status {component}"',
        code="E5012",
    )
    return problem(502, error)


def late(request: Request) -> Problem:
    """Return the 504 of a replica that did not answer in time."""
    error = ComponentError(
        f"component '{request.component}' did not answer within {request.deadlines.length_s:g} s",
        fix="Raise `header_timeout_s` in the gateway's config, or answer sooner",
        code="E5011",
    )
    return problem(504, error)
