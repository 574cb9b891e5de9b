"""Deadlines of one length, which share a timer."""

from __future__ import annotations

import asyncio

import pytest

from components.gateway.deadlines import Deadline, Deadlines

pytestmark = pytest.mark.anyio

LENGTH_S = 0.05


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run on both loops: their clocks differ in resolution."""
    return "asyncio", {"use_uvloop": request.param}


async def test_deadlines_pass_in_the_order_of_their_start() -> None:
    deadlines = Deadlines(LENGTH_S)
    passed: list[int] = []
    all_passed = asyncio.Event()
    for number in range(3):
        Deadline(deadlines, lambda number=number: passed.append(number))
        await asyncio.sleep(0.005)
    Deadline(deadlines, all_passed.set)
    async with asyncio.timeout(5):
        await all_passed.wait()
    assert passed == [0, 1, 2]


async def test_a_stopped_deadline_does_not_pass() -> None:
    deadlines = Deadlines(LENGTH_S)
    stopped, later = asyncio.Event(), asyncio.Event()
    deadline = Deadline(deadlines, stopped.set)
    Deadline(deadlines, later.set)
    deadline.stop()
    async with asyncio.timeout(5):
        await later.wait()
    assert not stopped.is_set()
    assert not deadline.passed


async def test_a_deadline_that_is_restarted_holds_up_nobody() -> None:
    """Also one that still ran: what started after it passes before it."""
    deadlines = Deadlines(LENGTH_S)
    passed: list[str] = []
    both = asyncio.Event()
    first = Deadline(deadlines, lambda: (passed.append("first"), both.set()))
    Deadline(deadlines, lambda: passed.append("second"))
    await asyncio.sleep(0.01)
    first.restart()
    async with asyncio.timeout(5):
        await both.wait()
    assert passed == ["second", "first"]


async def test_the_timer_rings_about_once_for_each_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not again and again until the clock has reached the very moment."""
    rings = 0
    ring = Deadlines._ring

    def counted(self: Deadlines) -> None:
        nonlocal rings
        rings += 1
        ring(self)

    monkeypatch.setattr(Deadlines, "_ring", counted)
    deadlines = Deadlines(0.01)
    for _ in range(20):
        passed = asyncio.Event()
        Deadline(deadlines, passed.set)
        async with asyncio.timeout(5):
            await passed.wait()
    assert rings <= 40
