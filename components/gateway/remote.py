"""Asks a replica behind a socket: a streaming proxy, in constant memory both ways.

Nothing is decoded or buffered here; a request goes out twice only where its connection was closed as it
was taken, and its method may be repeated.
"""

from __future__ import annotations

import asyncio

from components.gateway.address import Address
from components.gateway.answer import Answer, NotHttp
from components.gateway.deadlines import Deadline, Deadlines
from components.gateway.headers import answer_headers
from components.gateway.request import (
    IDEMPOTENT,
    ClientGone,
    Payload,
    Request,
    Unanswered,
    broke,
    late,
)
from components.gateway.upstream import Connection, Connections
from contracts.component import Endpoint
from contracts.errors import ConnectionBroken
from contracts.problems import REFUSED, not_ready

WATCH_AFTER_S = 0.01


class RemoteReplica:
    """A replica behind a Unix or TCP socket, with its connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.in_flight = 0
        self._address = Address(endpoint.address)
        self._connections = Connections(self._address)
        self._loop = asyncio.get_running_loop()
        self._watches = Deadlines(WATCH_AFTER_S)

    async def answer(self, request: Request) -> None:
        """Have the replica answer, and pass its answer on as it comes.

        Raises:
            Unanswered: no connection, a broken one, no answer in time, or a draining replica.
            ConnectionBroken: the answer had begun and broke off.
        """
        if request.scope["type"] == "websocket":
            from components.gateway.websocket import relay_websocket  # with the first of them

            await relay_websocket(self._address, request)
            return
        await self._while_client_stays(request)

    async def close(self) -> None:
        """Close the connections, those in use as their answers end."""
        self._connections.close()

    async def _while_client_stays(self, request: Request) -> None:
        """Ask the replica until it is done, or the client leaves; then it is cancelled.

        The watch for that begins a moment late: most requests are answered before it would be worth its
        cost.
        """
        task = asyncio.current_task(self._loop)
        assert task is not None
        cancelled_before = task.cancelling()
        # Owned here: it ends with this function, and its only act is to cancel the task that runs it.
        watch: asyncio.Task[None] | None = None

        def begin() -> None:
            nonlocal watch
            watch = asyncio.ensure_future(_cancel_when_gone(request, task))

        moment = Deadline(self._watches, begin)
        try:
            await self._proxy(request)
        except ClientGone:
            return
        except asyncio.CancelledError:
            if not request.body.gone or task.uncancel() > cancelled_before:
                raise
        finally:
            moment.stop()
            if watch is not None:
                watch.cancel()

    async def _proxy(self, request: Request) -> None:
        body = await request.body.payload()
        kept = self._connections.take_idle()
        if kept is not None:
            try:
                await _exchange(kept, request, body)
                return
            except _Outlived:
                pass
        # Where a kept connection broke and no new one comes about, the request may be what broke the replica.
        connection = await self._connect(request, untouched=kept is None)
        await _exchange(connection, request, await request.body.payload())

    async def _connect(self, request: Request, *, untouched: bool) -> Connection:
        try:
            return await self._connections.open()
        except OSError as exc:
            resend = request.body.can_be_sent
            raise Unanswered(broke(request.component), resend=resend, untouched=untouched) from exc


class _Outlived(Exception):
    """A connection that was kept turned out to be closed; the request may go by another one."""


async def _exchange(connection: Connection, request: Request, body: Payload) -> None:
    try:
        answer = await _begin(connection, request, body)
        if any(name == REFUSED for name, _ in answer.headers):
            resend = request.body.can_be_sent
            raise Unanswered(not_ready(request.component), resend=resend, untouched=True)
        await _pass_on(answer, request)
    finally:
        connection.done()


async def _begin(connection: Connection, request: Request, payload: Payload) -> Answer:
    """Send the request; return when the head of the answer is there."""
    body, method = request.body, request.scope["method"]
    whole = payload if isinstance(payload, bytes) else b""
    answer = connection.ask(_head(request) + whole, to_head=method == "HEAD")
    body.deadline = Deadline(request.deadlines, lambda: answer.give_up(TimeoutError()))
    if payload is not None and not isinstance(payload, bytes):
        outbound = request.outbound
        connection.send(payload, answer, chunked=outbound.chunked, asked=outbound.waits_for_continue)
    try:
        await answer.begin()
    except NotHttp as exc:
        raise Unanswered(broke(request.component), resend=False) from exc
    except ConnectionError as exc:
        if body.gone:
            raise ClientGone from exc
        resend = method in IDEMPOTENT and body.can_be_sent
        if resend and connection.was_kept and not answer.touched:
            raise _Outlived from exc
        raise Unanswered(broke(request.component), resend=resend) from exc
    except TimeoutError as exc:
        raise Unanswered(late(request), resend=False) from exc
    finally:
        body.end_deadline()
    return answer


async def _cancel_when_gone(request: Request, task: asyncio.Task[None]) -> None:
    await request.body.wait_gone()
    task.cancel()


async def _pass_on(answer: Answer, request: Request) -> None:
    headers = answer_headers(answer.headers)
    await request.send({"type": "http.response.start", "status": answer.status, "headers": headers})
    try:
        more = True
        while more:
            piece = await answer.read()
            more = not answer.complete
            await request.send({"type": "http.response.body", "body": piece, "more_body": more})
    except ConnectionError as exc:
        raise ConnectionBroken(f"component '{request.component}' broke off its answer") from exc


def _head(request: Request) -> bytes:
    scope = request.scope
    path, query = scope["raw_path"], scope["query_string"]
    lines = [b"%b %b HTTP/1.1" % (scope["method"].encode(), path + b"?" + query if query else path)]
    lines += [b"%b: %b" % header for header in request.outbound.headers]
    if request.outbound.chunked:
        lines.append(b"transfer-encoding: chunked")
    lines.append(b"\r\n")
    return b"\r\n".join(lines)
