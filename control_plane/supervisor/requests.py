"""Requests of the API: published on the request stream like anybody's, and matched with their answers."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any

from contracts.errors import ControlError, CoplaneError
from contracts.messages import AnyRequest, to_fields
from control_plane.brokers import StreamTransport
from control_plane.core import Answer
from control_plane.runtime import clock
from control_plane.runtime.announcer import requests_stream

ANSWER_TIMEOUT_S = 10.0
REQUESTS_KEPT = 1_000


class Requests:
    """Sends requests and hands each its answer."""

    def __init__(self, transport: StreamTransport, *, app: str) -> None:
        self._transport = transport
        self._stream = requests_stream(app)
        self._waiting: dict[str, asyncio.Future[Answer]] = {}

    def answer(self, answer: Answer) -> None:
        """Hand an answer to whoever waits for it; requests written by hand have nobody."""
        waiting = self._waiting.get(answer.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def send(self, request: AnyRequest) -> str:
        """Publish the request and wait for its answer; return its id.

        Raises:
            ControlError: it was refused, or not answered in time (E3004).
            BusError: the bus is away.
        """
        request_id = request.request_id or uuid.uuid4().hex
        sent = request.model_copy(update={"request_id": request_id, "at": clock.utc_now()})
        self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await self._transport.append_log(self._stream, to_fields(sent), max_len=REQUESTS_KEPT)
                answer = await self._waiting[request_id]
        except TimeoutError as exc:
            raise ControlError(
                f"'{request.type} {request.component}' was not answered within {ANSWER_TIMEOUT_S:g} s",
                fix="see `ctl status`: is the bus connected?",
                code="E3004",
            ) from exc
        finally:
            del self._waiting[request_id]
        if not answer.accepted:
            raise CoplaneError.from_dict(dict(answer.error or {}))
        return request_id

    async def wait_until_done(
        self, request: AnyRequest, done: Coroutine[Any, Any, None], *, timeout_s: float
    ) -> None:
        """Wait until the request's effect is there.

        Raises:
            ControlError: it was accepted, but is not done within `timeout_s` (E3004).
        """
        try:
            async with asyncio.timeout(timeout_s):
                await done
        except TimeoutError as exc:
            raise ControlError(
                f"'{request.type} {request.component}' was accepted, but not done within {timeout_s:g} s",
                fix="see `ctl status` for what it waits for",
                code="E3004",
            ) from exc
