"""A replica in the gateway's process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from components.gateway.deadlines import Deadlines
from components.gateway.headers import Outbound
from components.gateway.local import LocalReplica
from components.gateway.request import Request, RequestBody, Unanswered
from contracts.component import AsgiApp, AsgiMessage, Endpoint

pytestmark = pytest.mark.anyio


async def never() -> AsgiMessage:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def ask(app: AsgiApp, sent: list[str]) -> None:
    async def send(message: AsgiMessage) -> None:
        sent.append(message["type"])

    request = Request(
        component="writer",
        scope={"type": "http"},
        receive=never,
        send=send,
        outbound=Outbound([], None, "http"),
        body=RequestBody(never, expected=False, in_pieces=False),
        deadlines=Deadlines(0.02),
    )
    await LocalReplica(Endpoint("writer", "writer-1", "/writer", True, app=app), app).answer(request)


def cancellations() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_one_that_does_not_begin_in_time_is_given_up() -> None:
    async def hang(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unanswered) as given_up:
        await ask(hang, [])
    assert given_up.value.answer.status == 504
    assert cancellations() == 0


async def test_one_that_overhears_that_answers_late() -> None:
    """And whoever asked is not left with a cancellation that was not meant for it."""

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    sent: list[str] = []
    await ask(deaf, sent)
    assert sent == ["http.response.start", "http.response.body"]
    assert cancellations() == 0


async def test_a_cancellation_from_outside_is_not_taken_for_the_deadlines() -> None:
    async def hang(scope: Any, receive: Any, send: Any) -> None:
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        await asyncio.Event().wait()

    task = asyncio.ensure_future(ask(hang, []))
    with pytest.raises(asyncio.CancelledError):
        await task
