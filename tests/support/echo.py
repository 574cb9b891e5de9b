"""A component for clients under load: it gives back what it gets, at once, slowly, or without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from contracts import ComponentContext

TICK_S = 0.05
SLOW_S = 0.3


class Echo:
    """Answers with the request's body."""

    def __init__(self, context: ComponentContext) -> None:
        self.context = context

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    def health_check(self) -> dict[str, Any]:
        return {"status": "ok"}

    def get_routes(self) -> APIRouter | None:
        router = APIRouter()
        router.add_api_route("/", echo, methods=["POST"])
        router.add_api_route("/slow", slow, methods=["GET"])
        router.add_api_route("/ticks", ticks, methods=["GET"])
        router.add_api_route("/flood", flood, methods=["GET"])
        router.add_api_websocket_route("/ws", talk)
        return router


async def echo(request: Request) -> Response:
    """Read the whole body and send it back."""
    return Response(await request.body(), media_type="application/octet-stream")


async def slow() -> Response:
    """Answer after a while."""
    await asyncio.sleep(SLOW_S)
    return Response(b"slow")


async def ticks() -> StreamingResponse:
    """Send events without end."""
    return StreamingResponse(_endless(), media_type="text/event-stream")


async def flood() -> StreamingResponse:
    """Send events without end and without pause."""
    return StreamingResponse(_flooding(), media_type="text/event-stream")


async def talk(socket: WebSocket) -> None:
    """Send back what comes, until either side closes."""
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        return


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b"data: tick\n\n"
        await asyncio.sleep(TICK_S)


async def _flooding() -> AsyncIterator[bytes]:
    while True:
        yield b"data: " + bytes(1 << 14) + b"\n\n"
        await asyncio.sleep(0)
