"""A disk that takes no log line any more: the backend goes on, and its status says what is lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.test_faults import pids
from tests.support.backend import Backend, backend, request
from tests.support.wait import wait_until

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="a full disk is simulated with /dev/full")
SOURCE = """
[components.talks]
use = "tests.support.samples:Talks"
health = { interval_s = 0.2, timeout_s = 0.2 }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ctl.toml"
    path.write_text(SOURCE)
    return path


def fill_the_disk(made: Backend, *names: str) -> None:
    """Let every log be a file on a full disk."""
    logs = made.home / "logs"
    logs.mkdir(exist_ok=True)
    for name in ("talks-1.log", "gateway-1.log", "control.log", *names):
        (logs / name).symlink_to(FULL)


def warnings(made: Backend) -> str:
    """Return the warnings of the status, as one text."""
    status = made.status()
    return "\n".join(status["warnings"]) if status else ""


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_requests_are_answered_and_the_status_says_what_is_lost(config: Path, mode: str) -> None:
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        fill_the_disk(made, "talks-1.out.log", "gateway-1.out.log", "anchor.log", "stdout.log")
        url = made.start("--mode", mode).until_ready()["gateway"]["url"]

        for _ in range(20):
            status, _, body = request(f"{url}/agents/talks/")
            assert (status, body) == (200, b'{"said":"all"}')

        host = made.replica("talks-1")["host"]
        wait_until(lambda: f"host {host} lost " in warnings(made), 10)
        assert "No space left on device" in warnings(made)
        assert "warning: host" in made.ctl("status").stdout
        assert made.replica("talks-1")["restarts"] == 0
        assert made.interrupt() == 0, made.output
        made.assert_nothing_left()


def test_hosts_are_replaced_and_the_control_plane_says_what_it_lost(config: Path) -> None:
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        fill_the_disk(made, "talks-1.out.log", "gateway-1.out.log", "anchor.log")
        before = made.start("--mode", "multi").until_ready()

        os.kill(pids(before)["talks-1"], signal.SIGKILL)
        wait_until(lambda: made.replica("talks-1")["restarts"] == 1, 20)
        after = made.until_ready()

        assert pids(after)["talks-1"] != pids(before)["talks-1"]
        assert pids(after)["gateway-1"] == pids(before)["gateway-1"]
        made.ctl("stop", "talks")
        made.ctl("restart", "gateway")
        assert made.interrupt() == 0, made.output
        made.assert_nothing_left()
