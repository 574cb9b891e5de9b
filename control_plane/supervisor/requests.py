"""Requests of the API: published on the request stream like anybody's, and matched with their outcomes."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field

from contracts.errors import ControlError, CoplaneError
from contracts.messages import AnyRequest, to_fields
from control_plane.brokers import StreamTransport
from control_plane.core.effects import Answer, Conclude
from control_plane.runtime import clock
from control_plane.runtime.announcer import requests_stream

ANSWER_TIMEOUT_S = 10.0
# On top of the request's own deadline, which the control plane holds by itself.
OUTCOME_MARGIN_S = 2.0
REQUESTS_KEPT = 1_000


@dataclass
class _Asked:
    answer: asyncio.Future[Answer] = field(default_factory=asyncio.Future)
    outcome: asyncio.Future[Conclude] = field(default_factory=asyncio.Future)


class Requests:
    """Sends requests and hands each its answer and its outcome."""

    def __init__(self, transport: StreamTransport, *, app: str) -> None:
        self._transport = transport
        self._stream = requests_stream(app)
        self._asked: dict[str, _Asked] = {}

    def answer(self, answer: Answer) -> None:
        """Hand an answer to whoever waits for it; requests written by hand have nobody."""
        asked = self._asked.get(answer.request_id)
        if asked is not None and not asked.answer.done():
            asked.answer.set_result(answer)

    def conclude(self, end: Conclude) -> None:
        """Hand an outcome to whoever waits for it."""
        asked = self._asked.get(end.request_id)
        if asked is not None and not asked.outcome.done():
            asked.outcome.set_result(end)

    async def send(self, request: AnyRequest, *, wait_s: float | None = None) -> str:
        """Publish the request and wait for its answer, with `wait_s` for its outcome too; return its id.

        Raises:
            ControlError: it was refused or failed, or not answered or done in time (E3004).
            BusError: the bus is away.
        """
        request_id = request.request_id or uuid.uuid4().hex
        changes = {"request_id": request_id, "at": clock.utc_now()}
        sent = request.model_copy(update=changes if wait_s is None else {**changes, "timeout_s": wait_s})
        asked = self._asked[request_id] = _Asked()
        try:
            await self._until_answered(sent, asked)
            if wait_s is not None:
                await self._until_concluded(sent, asked)
        finally:
            del self._asked[request_id]
        return request_id

    async def _until_answered(self, request: AnyRequest, asked: _Asked) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._transport.append_log(self._stream, to_fields(request), max_len=REQUESTS_KEPT)
                answer = await asked.answer
        except TimeoutError as exc:
            raise ControlError(
                f"'{request.type} {request.component}' was not answered within {ANSWER_TIMEOUT_S:g} s",
                fix="see `ctl status`: is the bus connected?",
                code="E3004",
            ) from exc
        if not answer.accepted:
            raise CoplaneError.from_dict(dict(answer.error or {}))

    async def _until_concluded(self, request: AnyRequest, asked: _Asked) -> None:
        try:
            async with asyncio.timeout(request.timeout_s + OUTCOME_MARGIN_S):
                end = await asked.outcome
        except TimeoutError as exc:
            raise ControlError(
                f"'{request.type} {request.component}' was accepted, but not done in time", code="E3004"
            ) from exc
        if end.error is not None:
            raise CoplaneError.from_dict(dict(end.error))
