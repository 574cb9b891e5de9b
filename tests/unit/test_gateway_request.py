"""The body of a request, which may be offered to more than one replica."""

from __future__ import annotations

import pytest

from components.gateway.request import RequestBody
from contracts.component import AsgiMessage

pytestmark = pytest.mark.anyio


async def from_client() -> AsgiMessage:
    return {"type": "http.request", "body": b"hello", "more_body": False}


async def test_a_body_that_one_replica_refused_is_there_for_one_in_this_process() -> None:
    """A component may move into the gateway's process while its old replica still refuses."""
    body = RequestBody(from_client, expected=True, in_pieces=False)
    assert await body.payload() == b"hello"
    assert body.can_be_sent

    assert await body.receive() == {"type": "http.request", "body": b"hello", "more_body": False}
