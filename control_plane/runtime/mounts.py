"""Whole applications by prefix, and the wall around each component's application.

A table is never edited: a change swaps the whole table. Mounted applications see the full `path` and
their prefix as `root_path`, as ASGI has it, so that the URLs they make are right.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from urllib.parse import quote

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from contracts.component import AsgiApp, Receive, Scope, Send
from contracts.errors import ComponentError, ConnectionBroken
from contracts.problems import REFUSED, Problem, nobody_answers, not_ready, problem, send_problem
from contracts.routing import PrefixTable, has_dot_segment, split_address
from control_plane.runtime.exchanges import ConnectionClosing, Exchange
from control_plane.runtime.host_logging import current_replica

# Raised when the client left, or was told to; nobody's fault.
_CLIENT_LEFT = (ClientDisconnect, WebSocketDisconnect)


class MountTable:
    """An ASGI application that hands each request to the application of its longest prefix."""

    def __init__(self, apps: Mapping[str, AsgiApp], *, behind_gateway: bool = False) -> None:
        self._apps = PrefixTable(apps, behind_gateway=behind_gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the mounted application, or with 404."""
        found = self._apps.find(scope)
        if found is None:
            await send_problem(scope, send, nobody_answers(scope["path"]))
            return
        prefix, app = found
        await app(_below(scope, prefix), receive, send)


class Mount:
    """An application at its address, for whoever has found out already that a request is for it."""

    def __init__(self, address: str, app: AsgiApp) -> None:
        self._prefix = split_address(address)[1].rstrip("/")
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the application; a path that belongs to nobody does not reach it here either."""
        if has_dot_segment(scope["path"]):
            await send_problem(scope, send, nobody_answers(scope["path"]))
            return
        await self._app(_below(scope, self._prefix), receive, send)


def _below(scope: Scope, prefix: str) -> Scope:
    path = scope["path"]
    return {
        **scope,
        "root_path": scope.get("root_path", "") + prefix,
        # The bare prefix means the application's root, which would answer it with a redirect.
        "path": path + "/" if path == prefix else path,
    }


class WithoutPrefix:
    """An application that cannot live under a prefix: it sees paths as if it had none.

    `X-Forwarded-Prefix` tells it where it is, as other proxies do.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the application."""
        prefix = scope.get("root_path", "")
        if prefix:
            scope = {**scope, "root_path": "", "path": scope["path"].removeprefix(prefix) or "/"}
            if "raw_path" in scope:
                scope["raw_path"] = scope["raw_path"].removeprefix(quote(prefix).encode()) or b"/"
            scope["headers"] = [*scope["headers"], (b"x-forwarded-prefix", prefix.encode())]
        await self._app(scope, receive, send)


class Guard:
    """Keeps what goes wrong in a component's routes inside it, and knows what is in flight.

    An exception is reported to `on_error` and answered with the same 500 in every mode; where the
    answer had begun, `ConnectionBroken` tells the server, or the caller in this process, that it is
    not whole. The application's own exception handlers come first.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        component: str,
        replica: str,
        on_error: Callable[[str, BaseException], None],
    ) -> None:
        self._app = app
        self._component = component
        self.replica_id = replica
        self._on_error = on_error
        self._exchanges: set[Exchange] = set()
        self._idle = asyncio.Event()
        self._refusal = _refusal(component, replica)
        self._fault = _fault(component)
        self._closing = False
        self._begun = 0
        self.draining = False

    @property
    def in_flight(self) -> int:
        """Return how many requests and WebSockets are open."""
        return len(self._exchanges)

    def close_streams(self) -> None:
        """Ask endless answers to close, and those that begin from here on too."""
        self._closing = True
        for exchange in self._exchanges:
            exchange.close()

    def drain(self) -> None:
        """Refuse new requests from here on, and ask endless answers to close."""
        self.draining = True
        self.close_streams()

    async def wait_quiet(self, quiet_s: float, *, limit_s: float) -> None:
        """Wait until no request came for `quiet_s`, at most `limit_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                begun = -1
                while begun != self._begun:
                    begun = self._begun
                    await asyncio.sleep(quiet_s)

    async def wait_idle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; return False if something still is after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._exchanges:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the component's application, or with a problem."""
        if self.draining:
            await send_problem(scope, send, self._refusal)
            return
        current_replica.set(self.replica_id)  # for what is logged meanwhile
        exchange = Exchange.around(scope, receive, send)
        self._exchanges.add(exchange)
        self._begun += 1
        if self._closing:
            exchange.close()
        try:
            await self._app(scope, exchange.receive, exchange.send)
            if not exchange.complete:  # almost all are: it spares a coroutine
                await exchange.finish()
        except ConnectionBroken:
            raise
        except ConnectionClosing:
            if not exchange.closing or exchange.given_up:
                raise  # it is for the server below to close, or to cut off
            await exchange.finish()
        except (Exception, SystemExit, BaseExceptionGroup) as exc:
            await self._failed(scope, exchange, send, exc)
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._idle.set()

    async def _failed(self, scope: Scope, exchange: Exchange, send: Send, exc: BaseException) -> None:
        client_left = isinstance(exc, _CLIENT_LEFT) or (exchange.gone and isinstance(exc, OSError))
        if not client_left:
            self._on_error(self._component, exc)
        if exchange.complete or exchange.gone:
            return
        if not exchange.started:
            exchange.forget_held()
            await send_problem(scope, send, self._fault)
        elif exchange.closing and exchange.endless:
            await exchange.finish()
        elif exchange.websocket:
            await exchange.break_off()
        else:
            raise ConnectionBroken(f"component '{self._component}' broke off its answer") from exc


def refusing(component: str, replica: str) -> AsgiApp:
    """Return what answers in the place of a replica that does not run: another one may have the request."""
    refusal = _refusal(component, replica)

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(scope, send, refusal)

    return refuse


def _refusal(component: str, replica: str) -> Problem:
    return not_ready(component, headers=[(REFUSED, replica.encode())])


def _fault(component: str) -> Problem:
    error = ComponentError(
        f"component '{component}' failed to answer",
        why="a route raised an exception",
        fix=f'See "ctl logs {component}"',
        code="E5006",
    )
    return problem(500, error)
