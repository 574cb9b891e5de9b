"""Answers as problem+json (RFC 9457), the same bytes wherever they are made."""

from __future__ import annotations

import json

from contracts.component import Scope, Send


def problem(status: int, title: str, *, code: str, detail: str = "") -> bytes:
    """Return the body of a problem+json answer."""
    content = {"type": "about:blank", "title": title, "status": status, "code": code}
    return json.dumps({**content, "detail": detail} if detail else content).encode()


async def send_problem(
    scope: Scope, send: Send, status: int, title: str, *, code: str, detail: str = "", retry_after_s: int | None = None
) -> None:
    """Answer a request with a problem; a WebSocket handshake is refused."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1013 if status == 503 else 1011, "reason": title})
        return
    body = problem(status, title, code=code, detail=detail)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if retry_after_s is not None:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
