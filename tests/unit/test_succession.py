"""How often an anchor may die, and what is left of one that has."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from control_plane.launcher.succession import Deaths, Standing
from control_plane.runtime.paths import RuntimeDir
from tests.support.wait import wait_until

# Listens as an anchor does, and dies at SIGTERM while a child of it holds all of its files.
FORKING_ANCHOR = """
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(60)
"""


class TestDeaths:
    def test_the_sixth_death_within_a_minute_is_one_too_many(self) -> None:
        deaths = Deaths()

        assert [deaths.one_more_is_too_many(at_s) for at_s in (0, 10, 20, 30, 40, 60)] == [False] * 5 + [True]

    def test_deaths_far_apart_are_forgotten(self) -> None:
        deaths = Deaths()

        assert not any(deaths.one_more_is_too_many(at_s) for at_s in range(0, 1000, 13))


class TestStanding:
    @pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
    def test_a_child_that_a_dead_anchor_was_forking_does_not_keep_its_socket(
        self, folder: Path, end: signal.Signals
    ) -> None:
        runtime = RuntimeDir.open(folder, {})
        anchor = subprocess.Popen(
            [sys.executable, "-c", FORKING_ANCHOR, str(runtime.anchor_socket)], stdout=subprocess.PIPE
        )
        with anchor:
            assert anchor.stdout is not None
            child = psutil.Process(int(anchor.stdout.readline()))
            wait_until(runtime.anchor_alive, 10)
            standing = Standing(runtime, anchor_pid=anchor.pid)
            try:
                if end == signal.SIGKILL:
                    anchor.kill()
                    assert standing.reap_anchor() == -end
                else:
                    standing.end_anchor(timeout_s=10)

                assert child.is_running()
                assert not runtime.anchor_socket.exists()
                assert standing.anchor_pid is None
            finally:
                child.kill()
