"""Nothing that a component started outlives it, whatever group or session it went to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.backend import backend
from tests.support.wait import wait_until

SOURCE = """
[components.daemons]
use = "tests.support.samples:StartsDaemons"
[components.good]
use = "tests.support.samples:Good"
"""
STARTED = 4  # some of them after their component is ready


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ctl.toml"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("mode", ["single", "multi", "hybrid"])
def test_what_components_started_ends_with_the_launch(config: Path, mode: str) -> None:
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.start("--mode", mode).until_ready()
        wait_until(lambda: len(made.named("sleep")) == STARTED, 10)

        assert made.interrupt() == 0, made.output
        assert made.named("sleep") == set()
        made.assert_nothing_left()


def test_what_a_killed_host_started_ends_before_its_successor_has_run_for_long(config: Path) -> None:
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.start("--mode", "multi").until_ready()
        wait_until(lambda: len(made.named("sleep")) == STARTED, 10)
        before = made.named("sleep")

        os.kill(made.replica("daemons-1")["pid"], signal.SIGKILL)

        wait_until(lambda: not before & made.named("sleep"), 10)
        wait_until(lambda: made.replica("daemons-1")["restarts"] == 1, 20)
        made.until_ready()
        wait_until(lambda: len(made.named("sleep")) == STARTED, 10)
        assert made.interrupt() == 0, made.output
        made.assert_nothing_left()
