"""Notices merge and stay bounded; a watch gets over a read that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest

from contracts.errors import BusError
from contracts.state import Change
from control_plane.stores import changes
from control_plane.stores.changes import Mailbox, Notices, Notifier, Reading, Watch

pytestmark = pytest.mark.anyio


class TestMailbox:
    async def test_notices_of_one_key_merge(self) -> None:
        mailbox = Mailbox("state:")
        for name in ("state:a", "state:b", "state:a"):
            mailbox.put(name)
        assert await mailbox.take() == Notices(("state:a", "state:b"))
        assert await mailbox.take(timeout_s=0) == Notices()

    async def test_names_outside_the_prefix_wake_nobody(self) -> None:
        mailbox = Mailbox("state:a")
        mailbox.put("state:b")
        assert await mailbox.take(timeout_s=0) == Notices()

    async def test_past_the_bound_they_become_everything(self) -> None:
        mailbox = Mailbox("")
        for number in range(changes.MAX_NOTICES + 5):
            mailbox.put(str(number))
        assert await mailbox.take() == Notices(everything=True)
        mailbox.put("next")
        assert await mailbox.take() == Notices(("next",))

    async def test_a_full_mailbox_grows_no_more(self) -> None:
        mailbox = Mailbox("")
        mailbox.put_everything()
        for number in range(10):
            mailbox.put(str(number))
        assert not mailbox._names


class FailingStore:
    """Holds one key; each read takes the next of `failures`, as long as there are any."""

    def __init__(self, *failures: BusError) -> None:
        self._failures = list(failures)

    async def scan(self, prefix: str) -> AsyncIterator[str]:
        yield f"{prefix}key"

    async def read(self, keys: Sequence[str]) -> list[Reading | None]:
        if self._failures:
            raise self._failures.pop()
        return [Reading(1) for _ in keys]


class TestWatch:
    async def test_an_unreachable_bus_only_delays_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(changes, "RETRY_S", 0.01)
        store = FailingStore(BusError("away", code="E4001"), BusError("away", code="E4001"))
        assert await first_change(store) == Change("key", 1)

    async def test_a_bus_that_refuses_ends_it(self) -> None:
        with pytest.raises(BusError, match="E4002"):
            await first_change(FailingStore(BusError("refused", code="E4002")))


async def first_change(store: FailingStore) -> Change:
    with Notifier().follow("state:") as mailbox:
        mailbox.put_everything()
        async with aclosing(Watch(store, mailbox, "").changes()) as watched, asyncio.timeout(5):
            return await anext(watched)
