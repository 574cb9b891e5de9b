"""`ctl launch` as a user types it, with a component of one's own in a folder of one's own."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backend import Backend
from tests.support.wait import wait_until

COMPONENT = """
import time

class Greeter:
    def __init__(self, context):
        self.context = context
    async def startup(self):
        self.context.logger.warning("hello from %s", self.context.replica_id)
        if self.context.config.get("broken"):
            raise RuntimeError("no key for the piano")
    async def shutdown(self): ...
    def get_routes(self): ...
    def health_check(self):
        return {"status": "ok"}

class Slow(Greeter):
    async def startup(self):
        import asyncio
        await asyncio.sleep(60)
"""
CONFIG = """
[app]
name = "small"

[components.greeter]
use = "greeting:{use}"
essential = true
restart = {{ max_restarts = 0 }}
config = {{ broken = {broken} }}
"""


@pytest.fixture
def small() -> Iterator[Backend]:
    """A backend whose one component a test may change before it launches."""
    with tempfile.TemporaryDirectory(prefix="ctl-") as project:
        Path(project, "greeting.py").write_text(COMPONENT)
        made = Backend(Path(project, "ctl.toml"))
        configure(made)
        yield made
        made.destroy()


def configure(backend: Backend, *, use: str = "Greeter", broken: bool = False) -> None:
    backend.config.write_text(CONFIG.format(use=use, broken=str(broken).lower()))


@pytest.mark.parametrize("mode", ["single", "multi"])
class TestDetach:
    def test_it_returns_when_ready_and_everything_else_works_from_there(
        self, small: Backend, mode: str
    ) -> None:
        launched = small.ctl("launch", "--detach", "--mode", mode)
        assert launched.returncode == 0, launched.stderr
        assert launched.stdout.startswith("small is ready after ")

        assert small.ctl("status").returncode == 0
        assert "hello from greeter-1" in small.ctl("logs", "greeter", "--level", "warning").stdout
        assert "greeter: restart done" in small.ctl("restart", "greeter").stdout
        second = small.ctl("launch")
        assert (second.returncode, second.stderr[:5]) == (1, "E2006")

        assert small.ctl("stop").returncode == 0
        small.assert_nothing_left()
        assert small.ctl("status").returncode == 4
        assert "hello from greeter-1" in small.ctl("logs").stdout

    def test_a_launch_that_fails_says_why_and_leaves_nothing(self, small: Backend, mode: str) -> None:
        configure(small, broken=True)

        launched = small.ctl("launch", "--detach", "--mode", mode)

        assert launched.returncode == 1
        assert "no key for the piano" in launched.stderr
        assert launched.stdout == ""
        small.assert_nothing_left()

    def test_a_launch_that_takes_too_long_exits_with_3(self, small: Backend, mode: str) -> None:
        configure(small, use="Slow")

        launched = small.ctl("launch", "--detach", "--mode", mode, "--timeout", "1")

        assert launched.returncode == 3
        assert "E2008 not ready after 1 s" in launched.stderr
        small.assert_nothing_left()

    def test_an_interrupt_before_it_is_ready_stops_the_launch(self, small: Backend, mode: str) -> None:
        configure(small, use="Slow")
        small.start("--detach", "--mode", mode)
        wait_until(lambda: "greeter-1 starting" in small.output, timeout_s=30)

        assert small.interrupt(number=signal.SIGINT) == 130
        small.assert_nothing_left()


def test_an_import_that_takes_long_is_shown_and_only_its_own_component_waits(small: Backend) -> None:
    release = small.home / "release"
    source = f"""
import pathlib, time
while not pathlib.Path({str(release)!r}).exists():
    time.sleep(0.01)
from greeting import Greeter
"""
    (small.config.parent / "slow_greeting.py").write_text(source)
    slow = '\n[components.slow]\nuse = "slow_greeting:Greeter"\n'
    small.config.write_text(small.config.read_text() + slow)

    small.start("--mode", "multi")
    wait_until(lambda: "slow-1 pending (importing 'slow_greeting' takes long)" in small.output, timeout_s=30)
    wait_until(lambda: "greeter-1 ready" in small.output, timeout_s=30)
    assert "importing 'slow_greeting' takes long" in small.ctl("status").stdout

    release.touch()
    small.until_ready()
    assert "takes long" not in small.ctl("status").stdout
    assert small.interrupt() == 0
    small.assert_nothing_left()


def test_json_is_one_object_a_line_from_start_to_stop(small: Backend) -> None:
    small.start("--json").until_ready()
    assert small.interrupt() == 0

    events = [json.loads(line) for line in (small.home / "stdout.txt").read_text().splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["starting", "stopped"]
    assert "ready" in {event["event"] for event in events}
    assert (small.home / "stderr.txt").read_text() == ""
