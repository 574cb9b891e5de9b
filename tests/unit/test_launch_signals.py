"""Which signals ask a launch to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from control_plane.launch_options import LaunchOptions
from control_plane.launcher.launch import Launch
from control_plane.launcher.signals import Ending, stop_signals

BETWEEN_TWO_LOOPS = """
import asyncio, os, signal, sys
from control_plane.launcher.assembly import run_loop
from contracts.errors import CoplaneError

async def fails():
    raise ValueError

try:
    run_loop(fails())
except ValueError:
    os.kill(os.getpid(), int(sys.argv[1]))
try:
    run_loop(asyncio.sleep(60))
except CoplaneError as exc:
    print(type(exc).__name__)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_event_loops_interrupts_the_second(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BETWEEN_TWO_LOOPS, str(int(number))],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "Interrupted\n"


@pytest.mark.anyio
async def test_a_signal_in_the_moment_of_readiness_finds_a_launch_that_is_ready() -> None:
    """Whoever has read that it is ready, and stops it, has not interrupted a launch."""
    settled = SimpleNamespace(components=())

    async def changes() -> AsyncIterator[Any]:
        yield settled

    supervisor = SimpleNamespace(changes=changes, settled=True)
    reporter = SimpleNamespace(progress=lambda *_: None, ready=lambda *_: ending.ask("SIGINT"))
    launch = Launch(
        cast("Any", supervisor),
        runtime=cast("Any", None),
        options=LaunchOptions(),
        reporter=cast("Any", reporter),
        stop_bound_s=1.0,
    )
    ending = Ending()

    await launch._until_settled(ending)

    assert launch.was_ready
    assert ending.asked.is_set()


@pytest.mark.parametrize(("handler", "listens"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_under_nohup_the_end_of_the_terminal_stops_nothing(handler: Any, listens: bool) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert (signal.SIGHUP in stop_signals()) is listens
    finally:
        signal.signal(signal.SIGHUP, before)
