"""Brokers for the conformance tests: impatient ones, on a transport of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from control_plane.brokers import BusBroker, DeliverySettings, StreamTransport

IMPATIENT = DeliverySettings(claim_idle_s=0.6, block_s=0.2, backoff_s=0.02, backoff_max_s=0.2)

MakeBroker = Callable[..., BusBroker]


@pytest.fixture
async def make_broker(transport: StreamTransport) -> AsyncIterator[MakeBroker]:
    """Make brokers of app `novel`; the component's name is the replica's up to the hyphen."""
    made: list[BusBroker] = []

    def make(replica: str = "writer-1", settings: DeliverySettings = IMPATIENT, **options: Any) -> BusBroker:
        component = replica.partition("-")[0]
        options = {"transport": transport, **options}
        made.append(
            BusBroker(app="novel", component=component, replica=replica, settings=settings, **options)
        )
        return made[-1]

    yield make
    for broker in made:
        await broker.stop()
