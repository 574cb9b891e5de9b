"""Asks a replica behind a socket: a streaming proxy, in constant memory both ways.

Nothing is decoded, buffered or retried here that the client did not send or the replica answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
from yarl import URL

from components.gateway.address import Address
from components.gateway.headers import Header, answer_headers
from components.gateway.request import IDEMPOTENT, ClientGone, Request, Unanswered, broke, late
from components.gateway.websocket import relay_websocket
from contracts.component import Endpoint
from contracts.errors import ConnectionBroken
from contracts.problems import REFUSED, not_ready

CONNECT_TIMEOUT_S = 5.0
# Shorter than the hosts' own, so that a pooled connection is not closed as it is taken.
KEEP_ALIVE_S = 60.0
WATCH_AFTER_S = 0.01
PIECE_BYTES = 1 << 16
HEAD_MAX_BYTES = 1 << 16
HEADERS_MAX = 512

_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_CONNECT_FAILED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_REFUSED = REFUSED.decode()


class RemoteReplica:
    """A replica behind a Unix or TCP socket, with its pool of connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.in_flight = 0
        self._address = Address(endpoint.address)
        self._base = f"http://{self._address.authority}"
        self._session = aiohttp.ClientSession(
            connector=_connector(self._address),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            auto_decompress=False,
            read_bufsize=PIECE_BYTES,
            max_line_size=HEAD_MAX_BYTES,
            max_field_size=HEAD_MAX_BYTES,
            max_headers=HEADERS_MAX,
        )

    async def answer(self, request: Request) -> None:
        """Have the replica answer, and pass its answer on as it comes.

        Raises:
            Unanswered: no connection, a broken one, no answer in time, or a draining replica.
            ConnectionBroken: the answer had begun and broke off.
        """
        if request.scope["type"] == "websocket":
            await relay_websocket(self._address, request)
            return
        await _while_client_stays(self._proxy, request)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._session.close()

    async def _proxy(self, request: Request) -> None:
        answer = await self._begin(request)
        try:
            if _REFUSED in answer.headers:
                raise Unanswered(
                    not_ready(request.component), resend=request.body.can_be_sent, untouched=True
                )
            await _pass_on(answer, request)
        finally:
            # Gives a connection that was read to its end back to the pool, and cuts any other.
            answer.close()

    async def _begin(self, request: Request) -> aiohttp.ClientResponse:
        """Send the request; return when the head of the answer is there."""
        scope, body = request.scope, request.body
        idempotent = scope["method"] in IDEMPOTENT
        try:
            async with asyncio.timeout(request.timeout_s) as body.deadline:
                return await self._session.request(
                    scope["method"],
                    URL(self._base + _target(scope["raw_path"], scope["query_string"]), encoded=True),
                    headers=_as_text(request.headers),
                    data=await body.payload(),
                    allow_redirects=False,
                )
        except _CONNECT_FAILED as exc:
            raise Unanswered(broke(request.component), resend=body.can_be_sent, untouched=True) from exc
        except (aiohttp.ClientConnectionError, ConnectionError) as exc:
            if body.gone:
                raise ClientGone from exc
            raise Unanswered(broke(request.component), resend=idempotent and body.can_be_sent) from exc
        except aiohttp.ClientError as exc:
            raise Unanswered(broke(request.component), resend=False) from exc
        except TimeoutError as exc:
            raise Unanswered(late(request.component, request.timeout_s), resend=False) from exc
        finally:
            body.deadline = None


async def _while_client_stays(work: Callable[[Request], Awaitable[None]], request: Request) -> None:
    """Run the work until it is done, or the client leaves; then it is cancelled.

    The watch for that begins a moment late: most requests are answered before it would be worth its cost.
    """
    task = asyncio.current_task()
    assert task is not None
    cancelled_before = task.cancelling()
    # Owned here: it ends with this function, and its only act is to cancel the task that runs it.
    watch: asyncio.Task[None] | None = None

    def begin() -> None:
        nonlocal watch
        watch = asyncio.ensure_future(_cancel_when_gone(request, task))

    timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, begin)
    try:
        await work(request)
    except ClientGone:
        return
    except asyncio.CancelledError:
        if not request.body.gone or task.uncancel() > cancelled_before:
            raise
    finally:
        timer.cancel()
        if watch is not None:
            watch.cancel()


async def _cancel_when_gone(request: Request, task: asyncio.Task[None]) -> None:
    await request.body.wait_gone()
    task.cancel()


async def _pass_on(answer: aiohttp.ClientResponse, request: Request) -> None:
    content, send = answer.content, request.send
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": answer_headers(answer.raw_headers),
        }
    )
    try:
        more = True
        while more:
            piece = await content.readany()
            more = not content.at_eof()
            await send({"type": "http.response.body", "body": piece, "more_body": more})
    except aiohttp.ClientError as exc:
        raise ConnectionBroken(f"component '{request.component}' broke off its answer") from exc


def _connector(address: Address) -> aiohttp.BaseConnector:
    # No limit: each connection belongs to a client's request, and those are bounded at the front.
    if address.path:
        return aiohttp.UnixConnector(address.path, limit=0, keepalive_timeout=KEEP_ALIVE_S)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)


def _target(raw_path: bytes, query: bytes) -> str:
    return (raw_path + b"?" + query if query else raw_path).decode("latin-1")


def _as_text(headers: list[Header]) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), _text(value)) for name, value in headers]


def _text(value: bytes) -> str:
    # aiohttp writes text as UTF-8; what is not UTF-8 is Latin-1, as HTTP once had it.
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
