"""Asks an ASGI application by GET, as a client would, from within its process; or whether a port accepts."""

from __future__ import annotations

import asyncio

from contracts.component import AsgiApp, AsgiMessage, Scope


async def accepts(host: str, port: int) -> bool:
    """Tell whether somebody accepts connections at an address."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


class Reader:
    """The client's side of a request: it sends no body, stays until it has the answer, and keeps that."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self._has_sent = False

    async def receive(self) -> AsgiMessage:
        """Return the end of a request without a body; after that nothing is said any more."""
        if self._has_sent:
            await asyncio.Event().wait()  # whoever asks ends the wait
        self._has_sent = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: AsgiMessage) -> None:
        """Take a piece of the answer."""
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")


def get(path: str, *, root_path: str = "") -> Scope:
    """Return the scope of a GET.

    Args:
        path: seen from `root_path`, with its query.
        root_path: the prefix below which the application is served.
    """
    target, _, query = f"{root_path}{path}".partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost")],
        "client": None,
        "server": None,
        "state": {},
    }


async def answers_well(app: AsgiApp, path: str, *, root_path: str = "") -> str:
    """Ask for a path; return "ok" for a 2xx, else what was answered, as a health check says it."""
    reader = Reader()
    await app(get(path, root_path=root_path), reader.receive, reader.send)
    if 200 <= reader.status < 300:
        return "ok"
    return f"GET {path} answered {reader.status or 'nothing'}"
