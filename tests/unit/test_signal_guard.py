"""Users' code may install signal handlers; those of the process stay, and theirs comes after them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.runtime.signal_guard import GuardedLoop, SignalGuard
from tests.support.wait import eventually

GUARDED = (signal.SIGTERM,)
Install = Callable[[Callable[..., Any]], None]


def by_signal(handler: Callable[..., Any]) -> None:
    signal.signal(signal.SIGTERM, handler)


def by_loop(handler: Callable[..., Any]) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, handler, signal.SIGTERM, None)


def heard(install: Install, handler: Callable[..., Any], *, alone: bool) -> list[str]:
    """Let users' code install a handler, send the signal, and return who heard of it."""
    said: list[str] = []

    async def live() -> None:
        guard = SignalGuard(GUARDED, alone=alone)

        def ours() -> None:
            said.append("ours")
            guard.call_theirs(signal.SIGTERM)

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ours)
        with guard:
            install(lambda *_: (said.append("theirs"), handler()))
            os.kill(os.getpid(), signal.SIGTERM)
            await eventually(lambda: said)

    with asyncio.Runner(loop_factory=GuardedLoop) as runner:
        runner.run(live())
    return said


@pytest.mark.parametrize("install", [by_signal, by_loop])
def test_theirs_comes_after_ours_where_the_process_is_theirs_alone(install: Install) -> None:
    assert heard(install, lambda: None, alone=True) == ["ours", "theirs"]


@pytest.mark.parametrize("install", [by_signal, by_loop])
def test_theirs_is_left_out_where_the_process_is_shared(install: Install) -> None:
    assert heard(install, lambda: None, alone=False) == ["ours"]


def test_one_that_ends_the_process_does_not() -> None:
    def leave() -> None:
        raise SystemExit(3)

    assert heard(by_signal, leave, alone=True) == ["ours", "theirs"]


def test_other_signals_and_the_time_after_are_theirs() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with SignalGuard(GUARDED, alone=False):
        assert signal.signal(signal.SIGTERM, signal.SIG_IGN) is signal.SIG_DFL
        assert signal.signal(signal.SIGUSR1, signal.SIG_IGN) is before
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    signal.signal(signal.SIGUSR1, before)
    assert signal.signal.__module__ == "signal"
