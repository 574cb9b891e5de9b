"""Hosts a WSGI application (Flask, Django) through a2wsgi, in threads."""

from __future__ import annotations

from typing import Any, cast

from a2wsgi import WSGIMiddleware

from components.adapters.asgi import AsgiAdapter
from contracts import AsgiApp, ComponentContext
from contracts.component import Receive, Scope, Send
from contracts.specs import ComponentSpec


class WsgiAdapter(AsgiAdapter):
    """Answers HTTP; a WSGI application knows neither lifespan nor WebSockets."""

    def __init__(self, context: ComponentContext, target: Any, spec: ComponentSpec) -> None:
        self._wsgi = cast("AsgiApp", WSGIMiddleware(target))
        super().__init__(context, self._http_only, spec)

    async def _http_only(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError("WSGI has no lifespan")
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        await self._wsgi(scope, receive, send)
