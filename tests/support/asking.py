"""Asks an application in this process, without a server."""

from __future__ import annotations

import json
from typing import Any

from contracts.component import AsgiApp


class Answer:
    """What an application in this process has answered to one request."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status = messages[0]["status"]
        self.body = b"".join(message.get("body", b"") for message in messages)

    def json(self) -> Any:
        return json.loads(self.body)


async def asked(app: AsgiApp, method: str, path: str, body: Any = None, *, prefix: str = "") -> Answer:
    """Ask an application as a server would; the path is below the prefix."""
    scope = {
        "type": "http",
        "method": method,
        "path": f"{prefix}{path}",
        "raw_path": f"{prefix}{path}".encode(),
        "root_path": prefix,
        "query_string": b"",
        "headers": [(b"host", b"backend"), (b"content-type", b"application/json")],
        "scheme": "http",
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"" if body is None else json.dumps(body).encode()}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return Answer(sent)
