"""What the gateway answers by itself: `/-/health`, `/-/ready`, `/-/status`, `/-/docs`, `/openapi.json`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from fastapi.openapi.docs import get_swagger_ui_html

from components.asking import Reader, get
from components.gateway.openapi import Document, is_document, merged
from components.gateway.table import Route
from contracts.component import AsgiApp, Directory, Receive, Scope, Send
from contracts.errors import ConnectionBroken
from contracts.problems import RETRY_AFTER_S, nobody_answers, send_problem
from contracts.routing import OPENAPI, routing_path, split_address

DOCUMENT_TIMEOUT_S = 5.0
MERGED_FOR_S = 10.0

JSON = b"application/json"
HTML = b"text/html; charset=utf-8"
_WORKING = frozenset({"ready", "degraded"})
_ON_PURPOSE = frozenset({"stopped"})

Ask = Callable[[Route, Scope, Receive, Send], Awaitable[None]]


class OwnPages:
    """The gateway's own pages; `ask` hands a request on to a component."""

    def __init__(
        self, directory: Directory, *, title: str, routes: Callable[[], Sequence[Route]], ask: Ask
    ) -> None:
        self._directory = directory
        self._title = title
        self._routes = routes
        self._ask = ask
        self._merging = asyncio.Lock()
        self._merged: tuple[float, bytes] | None = None
        self._pages: dict[str, AsgiApp] = {
            "/-/health": self._health,
            "/-/ready": self._ready,
            "/-/status": self._status,
            "/-/docs": self._docs,
            OPENAPI: self._openapi,
        }

    def find(self, scope: Scope) -> AsgiApp | None:
        """Return the page that is asked for, where the path is the gateway's own."""
        path: str = scope["path"]
        if path != OPENAPI and not path.startswith("/-/"):
            return None
        page = self._pages.get(routing_path(scope))
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        return page if page is not None and reads else _nobody

    def forget(self) -> None:
        """Merge the documents anew when they are asked for next: the table has changed."""
        self._merged = None

    async def _health(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _send(send, 200, JSON, _dumps({"status": "ok"}))

    async def _ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        waiting = _not_ready(self._directory.status())
        body = _dumps({"ready": not waiting, "not_ready": waiting})
        await _send(send, 503 if waiting else 200, JSON, body)

    async def _status(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _send(send, 200, JSON, _dumps(self._directory.status()))

    async def _docs(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = get_swagger_ui_html(openapi_url=OPENAPI, title=self._title)
        await _send(send, 200, HTML, bytes(page.body))

    async def _openapi(self, scope: Scope, receive: Receive, send: Send) -> None:
        # One merge at a time: whoever comes meanwhile gets its result.
        async with self._merging:
            if self._merged is None or time.monotonic() - self._merged[0] > MERGED_FOR_S:
                self._merged = (time.monotonic(), await self._merge())
            body = self._merged[1]
        await _send(send, 200, JSON, body)

    async def _merge(self) -> bytes:
        async with asyncio.TaskGroup() as tasks:
            asked = [(route, tasks.create_task(self._document(route))) for route in self._shared()]
        found = [
            (route.component, route.prefix, document)
            for route, task in asked
            if (document := task.result()) is not None
        ]
        return _dumps(merged(found, title=self._title))

    def _shared(self) -> Iterator[Route]:
        """Yield the routes of the backend's own host; the paths of another one would be taken for its."""
        return (route for route in self._routes() if not split_address(route.prefix)[0])

    async def _document(self, route: Route) -> Document | None:
        """Return a component's own document, if it has one and answers."""
        reader = Reader()
        try:
            async with asyncio.timeout(DOCUMENT_TIMEOUT_S):
                await self._ask(route, get(route.prefix.rstrip("/") + OPENAPI), reader.receive, reader.send)
            document = json.loads(reader.body)
        except (TimeoutError, ConnectionBroken, ValueError, RecursionError):
            return None
        return document if reader.status == 200 and is_document(document) else None


def _not_ready(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the components of which no replica works, but for those stopped on purpose."""
    return {
        component: replicas
        for component, replicas in status.items()
        if _WORKING.isdisjoint(replicas.values()) and not _ON_PURPOSE.issuperset(replicas.values())
    }


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    await send_problem(scope, send, nobody_answers(scope["path"]))


async def _send(send: Send, status: int, media_type: bytes, body: bytes) -> None:
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    if status == 503:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
