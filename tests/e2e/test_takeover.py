"""A killed control plane takes nothing down, and the next one goes on where it was."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.backend import DEMO, Backend, backend
from tests.support.redis_servers import Server
from tests.support.wait import wait_until


def replicas(status: dict[str, Any]) -> dict[str, tuple[str, int | None]]:
    """Return state and process id of every replica."""
    return {r["id"]: (r["state"], r["pid"]) for c in status["components"] for r in c["replicas"]}


def kill_control_plane(novel: Backend) -> None:
    assert novel.launch is not None
    novel.launch.kill()
    novel.launch.wait()


def test_what_operators_wanted_outlives_the_control_plane_and_no_process_is_replaced() -> None:
    with backend() as novel:
        novel.start("--mode", "multi").until_ready()
        assert novel.ctl("stop", "rewriter").returncode == 0
        assert novel.ctl("scale", "writer=3").returncode == 0
        assert novel.ctl("move", "critic", "--to", "writing").returncode == 0
        before = replicas(novel.until_ready())
        kill_control_plane(novel)

        after = replicas(novel.start("--mode", "multi").until_ready())

        assert after == before
        assert after["rewriter-1"][0] == "stopped"
        assert "writer-3" in after
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_a_crash_history_outlives_the_control_plane(tmp_path: Path) -> None:
    """A component that was given up is not started again by a takeover; `ctl start` does that."""
    config = tmp_path / "ctl.toml"
    config.write_text(
        '[components.bell]\nuse = "tests.support.samples:Bell"\nrestart = { max_restarts = 1 }\n'
        '[components.ear]\nuse = "tests.support.samples:Ear"\n'
    )
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.start("--mode", "multi").until_ready()
        for restarts in (1, 1):
            pid = made.replica("bell-1")["pid"]
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: made.replica("bell-1")["pid"] != pid, 20)  # noqa: B023 - called at once
            wait_until(lambda: made.replica("bell-1")["restarts"] >= restarts, 20)  # noqa: B023
            wait_until(lambda: made.replica("bell-1")["state"] in ("ready", "failed"), 20)
        assert made.replica("bell-1")["state"] == "failed"
        kill_control_plane(made)

        made.start("--mode", "multi")
        wait_until(lambda: made.status() is not None, 20)

        bell = made.replica("bell-1")
        assert (bell["state"], bell["restarts"]) == ("failed", 1)
        assert "crash loop" in bell["reason"]
        assert made.ctl("start", "bell").returncode == 0
        assert made.interrupt() == 0, made.output
        made.assert_nothing_left()


def test_a_launch_without_a_mode_takes_over_in_the_mode_that_runs() -> None:
    """The demo's file says `single`; a backend that runs in many processes is not ended for that."""
    with backend() as novel:
        before = replicas(novel.start("--mode", "hybrid").until_ready())
        kill_control_plane(novel)

        status = novel.start().until_ready()

        assert status["mode"] == "hybrid"
        assert replicas(status) == before
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


@pytest.mark.slow
def test_there_is_one_leader_for_an_application_on_a_bus(tmp_path: Path) -> None:
    """A second launch is refused; a leader that was paused past its lease gives up when it wakes up."""
    server = Server("valkey", tmp_path)
    server.start()
    bus = {"CTL_BUS__URL": server.url}
    try:
        with backend(DEMO, env=bus) as first, backend(DEMO, env=bus) as second:
            first.start("--mode", "multi").until_ready()
            refused = second.ctl("launch", "--mode", "multi")
            assert refused.returncode == 1
            assert "E2013" in refused.stderr
            assert str(first.home) in refused.stderr

            assert first.launch is not None
            first.launch.send_signal(signal.SIGSTOP)
            began_s = time.monotonic()
            wait_until(lambda: _launched(second), 40, every_s=1)
            assert time.monotonic() - began_s > 5  # not before the lease had run out
            before = replicas(second.until_ready())
            first.launch.send_signal(signal.SIGCONT)

            assert first.launch.wait(30) == 1
            assert "E2013" in first.output
            first.assert_nothing_left()
            assert replicas(second.until_ready()) == before
            assert second.interrupt() == 0, second.output
            second.assert_nothing_left()
    finally:
        server.remove()


def _launched(made: Backend) -> bool:
    """Start a launch; tell whether it was not refused."""
    made.start("--mode", "multi")
    assert made.launch is not None
    wait_until(lambda: made.launch is None or made.launch.poll() is not None or made.status(), 20)
    return made.launch.poll() is None
