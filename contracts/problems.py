"""Errors as HTTP answers: problem+json (RFC 9457), the same bytes whoever in Coplane answers.

Our code, cause and remedy are members of their own. Answers are built once and sent many times.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from contracts.component import Scope, Send
from contracts.errors import ComponentError, CoplaneError

MEDIA_TYPE = b"application/problem+json"
RETRY_AFTER_S = 1

# On a 503 of a draining replica: nothing of the request was read, so another replica may have it.
REFUSED = b"coplane-refused"

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Problem:
    """One error, ready to be sent."""

    status: int
    headers: Headers
    body: bytes


def problem(status: int, error: CoplaneError, *, headers: Headers = ()) -> Problem:
    """Return the answer that tells of `error`."""
    content = {"type": "about:blank", "title": error.what, "status": status, **error.as_dict()}
    body = json.dumps(content).encode()
    fixed = ((b"content-type", MEDIA_TYPE), (b"content-length", b"%d" % len(body)))
    return Problem(status, [*fixed, *headers], body)


def not_ready(component: str, *, headers: Headers = ()) -> Problem:
    """Return the 503 of a component that has no ready replica."""
    error = ComponentError(
        f"no replica of component '{component}' is ready",
        fix=f'Try again, or run "ctl status {component}"',
        code="E5010",
    )
    return problem(503, error, headers=[(b"retry-after", b"%d" % RETRY_AFTER_S), *headers])


def nobody_answers(path: str) -> Problem:
    """Return the 404 of a path that belongs to no component."""
    return problem(404, ComponentError(f"no component answers {path}", fix="See /openapi.json", code="E5014"))


async def send_problem(scope: Scope, send: Send, answer: Problem) -> None:
    """Send the answer; a WebSocket handshake gets it where the server can, else a plain refusal."""
    if scope["type"] == "http":
        kind = "http.response"
    elif "websocket.http.response" in (scope.get("extensions") or {}):
        kind = "websocket.http.response"
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    await send({"type": f"{kind}.start", "status": answer.status, "headers": list(answer.headers)})
    await send({"type": f"{kind}.body", "body": answer.body})
