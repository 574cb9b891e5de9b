"""The gateway: hands each request to a ready replica of the component whose prefix it is below.

It answers by itself only below `/-/` and at `/openapi.json`. A component behind it sees the same
request, and a client the same answer, whether the replica is in this process or behind a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork

from components.gateway.deadlines import Deadlines
from components.gateway.headers import HeaderRules
from components.gateway.pages import OwnPages
from components.gateway.request import Request, Unanswered
from components.gateway.table import Replica, Route, Table
from contracts.component import AsgiApp, ComponentContext, Endpoint, Receive, Scope, Send
from contracts.problems import Problem, nobody_answers, not_ready, send_problem
from contracts.routing import FORWARDED_PORT

CATCH_UP_TIMEOUT_S = 5.0
REPLICAS_AT_RISK = 2


class GatewayConfig(BaseModel):
    """`[components.gateway.config]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field("API", description="Title of the merged OpenAPI document.")
    header_timeout_s: float = Field(
        60.0, gt=0, description="How long a replica may take to begin its answer."
    )
    trusted_proxies: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Addresses and networks whose X-Forwarded-* headers are believed."
    )


class Gateway:
    """The component; also the ASGI application on the public socket."""

    Config = GatewayConfig

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._deadlines = Deadlines(context.config.header_timeout_s)
        self._rules = HeaderRules(context.config.trusted_proxies)
        self._table = Table()
        self._retired: set[Replica] = set()
        self._pages = OwnPages(
            context.directory,
            title=context.config.title,
            routes=lambda: self._table.routes,
            ask=self._hand_on,
        )

    async def startup(self) -> None:
        """Learn who answers what, and follow its changes.

        A gateway that takes over from another must not say of a path that nobody answers it, because it
        has not heard of anybody yet. While the bus is away, it has to begin without.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CATCH_UP_TIMEOUT_S):
                await self._context.directory.caught_up()
        await self._swap(self._context.directory.endpoints())
        self._context.spawn(self._follow(), name="directory")

    async def shutdown(self) -> None:
        """Close the connections to every replica."""
        for replica in self._table.replicas | self._retired:
            await replica.close()

    def get_routes(self) -> APIRouter | None:
        """Return nothing: the gateway answers with an application."""
        return None

    def get_asgi_app(self) -> AsgiApp:
        """Return the application for the public socket."""
        return self._answer

    def health_check(self) -> dict[str, Any]:
        """Return ok: whoever gets this answer has a gateway that runs."""
        return {"status": "ok"}

    async def _follow(self) -> None:
        async for endpoints in self._context.directory.changes():
            await self._swap(endpoints)

    async def _swap(self, endpoints: Sequence[Endpoint]) -> None:
        """Replace the table; a replica that is gone still finishes what it has in flight."""
        others = [endpoint for endpoint in endpoints if endpoint.component != self._context.name]
        previous, self._table = self._table, self._table.renewed(others)
        self._pages.forget()
        self._retired |= previous.replicas - self._table.replicas
        for replica in [replica for replica in self._retired if not replica.in_flight]:
            self._retired.discard(replica)
            await replica.close()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._table.find_by_host(scope)  # a host of a component's own has no pages of ours
        if found is None and (page := self._pages.find(scope)):
            await page(scope, receive, send)
            return
        found = found or self._table.find_for_any(scope)
        if found is None:
            await send_problem(scope, send, nobody_answers(scope["path"]))
            return
        await self._hand_on(found[1], scope, receive, send)

    async def _hand_on(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a replica answer, or another one where that gives no answer and may be replaced.

        Each is asked once. Who breaks may have been broken by the request, so that only one more is put
        at risk; any number may be gone already, or drain.
        """
        request = self._request(route, scope, receive, send)
        answer: Problem | None = None
        asked: list[Replica] = []
        may_break = REPLICAS_AT_RISK
        while may_break and (replica := route.choose(besides=asked)):
            asked.append(replica)
            try:
                await self._ask(replica, request)
                return
            except Unanswered as exc:
                answer = exc.answer
                if not exc.resend:
                    break
                may_break -= not exc.untouched
                # The present one: the replicas of the route that was found may be gone meanwhile.
                route = self._table.by_component[route.component]
        await send_problem(scope, send, answer or not_ready(route.component))

    async def _ask(self, replica: Replica, request: Request) -> None:
        replica.in_flight += 1
        try:
            await replica.answer(request)
        finally:
            replica.in_flight -= 1
            if not replica.in_flight and replica in self._retired:
                self._retired.discard(replica)
                await replica.close()

    def _request(self, route: Route, scope: Scope, receive: Receive, send: Send) -> Request:
        outbound = self._rules.outbound(scope)
        if route.port:  # for a host that holds several components
            outbound.headers.append((FORWARDED_PORT, route.port))
        return Request.of(route.component, scope, receive, send, outbound, self._deadlines)
