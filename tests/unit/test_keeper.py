"""What is left for a later control plane, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from contracts.specs import Mode, Settings
from control_plane.core.state import ReplicaRecord, State, initial_state
from control_plane.hosting import Hosting
from control_plane.supervisor import keeper
from control_plane.supervisor.keeper import Keeper
from tests.support.core_steps import component
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

FIRST = initial_state(Settings(components={"writer": component("writer")}), Mode.MULTI)


class Anchor:
    """Remembers everything it is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    async def remember(self, memory: dict[str, Any]) -> None:
        self.told.append(memory)

    @property
    def restarts(self) -> list[int]:
        """The restarts of the writer in each memory."""
        return [memory["replicas"].get("writer-1", {}).get("restarts", 0) for memory in self.told]


def restarted(times: int) -> State:
    """Return a state in which the writer was restarted so many times."""
    return FIRST.with_replica("writer-1", ReplicaRecord("writer", restarts=times))


@asynccontextmanager
async def keeping(anchor: Anchor) -> AsyncIterator[Keeper]:
    """Run a keeper."""
    made = Keeper(cast("Hosting", anchor))
    running = asyncio.ensure_future(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_the_first_change_is_sent_at_once_and_what_follows_as_its_last_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "PAUSE_S", 0.1)
    anchor = Anchor()
    async with keeping(anchor) as made:
        made.note(restarted(1))
        await eventually(lambda: anchor.restarts == [1])
        for times in range(2, 10):
            made.note(restarted(times))
            await asyncio.sleep(0)
        await eventually(lambda: anchor.restarts == [1, 9])


async def test_what_is_over_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control plane that dies right after it must not have it started again by the next one."""
    monkeypatch.setattr(keeper, "PAUSE_S", 60.0)
    anchor = Anchor()
    async with keeping(anchor) as made:
        made.note(restarted(1))
        await eventually(lambda: anchor.restarts == [1])
        made.note(restarted(2), at_once=True)
        await eventually(lambda: anchor.restarts == [1, 2])


async def test_what_an_operator_wants_is_sent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PAUSE_S", 60.0)
    anchor = Anchor()
    async with keeping(anchor) as made:
        made.note(FIRST)
        await eventually(lambda: len(anchor.told) == 1)
        made.note(FIRST.with_component("writer", replace(FIRST.desired.components["writer"], running=False)))
        await eventually(lambda: len(anchor.told) == 2)
        assert anchor.told[-1]["components"]["writer"]["running"] is False


async def test_what_says_nothing_new_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PAUSE_S", 0.0)
    anchor = Anchor()
    async with keeping(anchor) as made:
        made.note(restarted(1))
        await eventually(lambda: len(anchor.told) == 1)
        made.note(restarted(1))
        made.note(restarted(1).with_bus(connected=False))
        await asyncio.sleep(0.05)
    assert len(anchor.told) == 1
