"""Passes requests on to a program that answers HTTP at a port of its own."""

from __future__ import annotations

from components.gateway.deadlines import Deadlines
from components.gateway.headers import HeaderRules
from components.gateway.remote import RemoteReplica
from components.gateway.request import Request, Unanswered
from contracts.component import Endpoint, Receive, Scope, Send
from contracts.problems import send_problem

ANSWER_TIMEOUT_S = 60.0
PREFIX = b"x-forwarded-prefix"


class Upstream:
    """A port that answers HTTP and WebSockets."""

    def __init__(self, component: str, address: str) -> None:
        self._component = component
        self._replica = RemoteReplica(Endpoint(component, component, "", ready=True, address=address))
        self._deadlines = Deadlines(ANSWER_TIMEOUT_S)
        self._rules = HeaderRules(())

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with what the program answers, or with 502, 503 or 504."""
        outbound = self._rules.outbound(scope)
        # Said by whoever took the prefix off, for the program's links.
        outbound.headers += [header for header in scope["headers"] if header[0] == PREFIX]
        request = Request.of(self._component, scope, receive, send, outbound, self._deadlines)
        try:
            await self._replica.answer(request)
        except Unanswered as exc:
            await send_problem(scope, send, exc.answer)

    async def close(self) -> None:
        """Close the connections."""
        await self._replica.close()
