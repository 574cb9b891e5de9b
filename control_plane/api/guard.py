"""Who may talk to the API over TCP: whoever has the token, under one of our own names.

The names matter because of DNS rebinding: a web page of somebody else's may resolve its own host name to
127.0.0.1 and so reach us through the user's browser, but its Host and Origin headers give it away.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from contracts.errors import ControlError
from control_plane.api.controller import Controller
from control_plane.api.problems import problem_of

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
# Whoever probes a process has no token, and learns no more than yes or no.
OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class Guard:
    """Middleware that refuses strangers.

    Args:
        app: the application behind it.
        token: the bearer token.
        own_host: gives the host that the API listens on, as configured.
    """

    def __init__(self, app: ASGIApp, *, token: str, own_host: Callable[[], str]) -> None:
        self._app = app
        self._token = token.encode()
        self._own_host = own_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            error, status = refusal
            await problem_of(error, status=status)(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[ControlError, int] | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _refused(f"the Host header {host!r} is none of ours"), 403
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{host}":
            return _refused(f"the Origin {origin!r} is not ours"), 403
        if scope["path"] not in OPEN_PATHS and not self._is_token(headers.get("authorization", "")):
            return _refused("the bearer token is missing or wrong", "Send the token in .ctl/token"), 401
        return None

    def _is_ours(self, host: str) -> bool:
        name = _name_of(host)
        own = self._own_host()
        return name in LOOPBACK_NAMES or name == own or (_is_wildcard(own) and _is_address(name))

    def _is_token(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        is_same = secrets.compare_digest(token.strip().encode(), self._token)
        return bool(self._token) and is_same and scheme.lower() == "bearer"


def guarded(app: ASGIApp, controller: Controller, *, token: str) -> ASGIApp:
    """Return the API for callers who must have the bearer token."""
    return Guard(app, token=token, own_host=lambda: _host_of(controller))


def _host_of(controller: Controller) -> str:
    return urlsplit(controller.status().control_plane.url).hostname or ""


def _refused(why: str, fix: str = "") -> ControlError:
    return ControlError("not authorised", why=why, fix=fix, code="E3006")


def _name_of(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_wildcard(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified


def _is_address(name: str) -> bool:
    # An address cannot be rebound: a page that came from it is ours already.
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
