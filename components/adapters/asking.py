"""Asks an ASGI application for a path, as a client would that wants its status only."""

from __future__ import annotations

import asyncio

from contracts.component import AsgiApp, AsgiMessage, Scope

SUCCESS = 2  # the first digit


async def status_of(app: AsgiApp, path: str, *, root_path: str = "") -> int:
    """Return the status of the answer to GET; 0 where the application gives none.

    Args:
        path: seen from the root of the application.
        root_path: the prefix below which the application is served.
    """
    status, sent = 0, False

    async def receive() -> AsgiMessage:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()  # a client that stays; whoever asks ends the wait
        sent = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: AsgiMessage) -> None:
        nonlocal status
        status = int(message.get("status", status))

    await app(_get(path, root_path), receive, send)
    return status


def _get(path: str, root_path: str) -> Scope:
    target, _, query = f"{root_path}{path}".partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": root_path,
        "headers": [(b"host", b"localhost")],
        "client": None,
        "server": None,
    }
