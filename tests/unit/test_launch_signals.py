"""Which signals ask a launch to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.errors import ExitCode
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

BETWEEN_TWO_LISTENERS = """
import asyncio, os, signal, sys, uvloop
from control_plane.launcher.signals import heeding

async def main():
    with heeding(lambda name: print("first", name)):
        os.kill(os.getpid(), int(sys.argv[1]))
        with heeding(lambda name: print("second", name)):
            for _ in range(3):
                await asyncio.sleep(0)
            os.kill(os.getpid(), int(sys.argv[1]))
        with heeding(lambda name: print("third", name)):
            for _ in range(3):
                await asyncio.sleep(0)

with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main())
"""
AROUND_AN_ENDING = """
import asyncio, os, signal, sys
from control_plane.launcher.assembly import run_loop
from control_plane.launcher.signals import Ending

async def ask(before, at_the_end):
    ending = Ending()
    for _ in range(before):
        os.kill(os.getpid(), int(sys.argv[1]))
    with ending.on_signals():
        await asyncio.sleep(0.01)
        for _ in range(at_the_end):
            os.kill(os.getpid(), int(sys.argv[1]))
    print(ending.asked.is_set(), ending.forced.is_set())

for before, at_the_end in ((1, 0), (0, 1), (2, 0), (1, 1)):
    run_loop(ask(before, at_the_end))
    run_loop(asyncio.sleep(0.01))
"""
WITHOUT_A_LOOP = """
import asyncio, os, signal, sys
from control_plane.launcher.signals import heeding

async def main():
    with heeding(lambda name: print("heeded")):
        for _ in range(3):
            os.kill(os.getpid(), int(sys.argv[1]))
        print("still there")

asyncio.run(main())
"""


def run(script: str, number: signal.Signals) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-u", "-c", script, str(int(number))],
        stdout=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_event_loops_interrupts_the_second(number: signal.Signals) -> None:
    assert run(BETWEEN_TWO_LOOPS, number).stdout == "Interrupted\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_goes_to_who_listens_when_the_loop_gets_to_it(number: signal.Signals) -> None:
    assert run(BETWEEN_TWO_LISTENERS, number).stdout == f"second {number.name}\nthird {number.name}\n"


def test_a_launch_is_asked_by_each_signal_once_and_what_follows_by_none_of_them() -> None:
    """Whether it came while nobody listened yet, or too late for the loop to get to it."""
    done = run(AROUND_AN_ENDING, signal.SIGTERM)

    assert done.stdout.split("\n") == ["True False", "True False", "True True", "True True", ""]


def test_a_third_signal_ends_the_process_whatever_keeps_its_loop() -> None:
    done = run(WITHOUT_A_LOOP, signal.SIGTERM)

    assert (done.returncode, done.stdout) == (ExitCode.INTERRUPTED, "")


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
