"""Answers that go on: server-sent events and JSON lines.

The work of an answer ends when its client goes away; a slow client slows its own work down and
nobody else's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.errors import CoplaneError

Write = Callable[[str], Awaitable[None]]
Produce = Callable[[Write], Coroutine[Any, Any, None]]

# Proxies give up on silent connections after about a minute, and it shows us a client that is gone.
KEEP_ALIVE_S = 20.0


@dataclass(frozen=True)
class Form:
    """How pieces look: what a silent stream sends now and then, and how it tells of an error."""

    media_type: str
    keep_alive: str
    last_words: Callable[[CoplaneError], str]


def sse(event: str, data: Any, *, event_id: str = "") -> str:
    """Return one server-sent event; the data is one line of JSON."""
    head = f"id: {event_id}\n" if event_id else ""
    # A line end in the event's name would begin a field of its own.
    return f"{head}event: {' '.join(event.split())}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def json_line(event: str, **members: Any) -> str:
    """Return one line of a stream of JSON lines."""
    return json.dumps({"event": event, **members}, ensure_ascii=False) + "\n"


SERVER_SENT_EVENTS = Form("text/event-stream", ":\n\n", lambda error: sse("error", error.as_dict()))
JSON_LINES = Form("application/x-ndjson", "\n", lambda error: json_line("error", error=error.as_dict()))


class StreamedAnswer(Response):
    """An answer that a coroutine writes piece by piece; what it raises is told as the last piece."""

    def __init__(self, form: Form, produce: Produce) -> None:
        super().__init__(
            headers={"cache-control": "no-store", "x-accel-buffering": "no"}, media_type=form.media_type
        )
        del self.headers["content-length"]
        self._form = form
        self._produce = produce

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer until the work is done or the client is gone."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def write(text: str) -> None:
            await send({"type": "http.response.body", "body": _bytes(text), "more_body": True})

        async with asyncio.TaskGroup() as tasks:
            works = {
                tasks.create_task(self._work(write)),
                tasks.create_task(self._keep_alive(write)),
                tasks.create_task(_until_gone(receive)),
            }
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in works:
                work.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _work(self, write: Write) -> None:
        try:
            await self._produce(write)
        except CoplaneError as exc:
            await write(self._form.last_words(exc))

    async def _keep_alive(self, write: Write) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_S)
            await write(self._form.keep_alive)


def _bytes(text: str) -> bytes:
    # Half a surrogate pair, which UTF-8 cannot say, becomes the escape that JSON has for it.
    return text.encode(errors="backslashreplace")


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
