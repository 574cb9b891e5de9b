"""`ctl why` of a real backend."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.support.backend import Backend, backend, request
from tests.support.wait import wait_until

CONFIG = """
[components.broken]
use = "why_parts:Broken"
restart = { policy = "never" }

[components.behind]
use = "why_parts:Fine"
depends_on = ["broken"]
"""
PARTS = """
class Fine:
    def __init__(self, context): pass
    async def startup(self): pass
    async def shutdown(self): pass
    def get_routes(self): return None
    def health_check(self): return {"status": "ok"}

class Broken(Fine):
    async def startup(self): raise ValueError("no ink")
"""


class TestWhy:
    def test_what_waits_for_a_failed_component_names_it_and_that_one_names_its_fault(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "ctl.toml").write_text(CONFIG)
        (tmp_path / "why_parts.py").write_text(PARTS)
        with backend(tmp_path / "ctl.toml") as running:
            running.ctl("launch", "--detach", "--mode", "single")
            behind = json.loads(running.ctl("why", "behind", "--json").stdout)
            broken = running.ctl("why", "broken").stdout
            running.ctl("stop")

        assert behind["sentence"].startswith("behind waits for broken, which has failed: E5003")
        assert behind["advice"] == ["ctl why broken"]
        assert broken.startswith("broken has failed: E5003")
        assert "ValueError: no ink" in broken.split("traceback:")[1]
        assert "ctl restart broken" in broken


FLEET = """
[components.victim]
use = "tests.support.samples:Quiet"
restart = { max_restarts = 1, window_s = 600 }

[components.late]
use = "why_late:Quiet"
preload = false

[components.sleeper]
use = "tests.support.samples:Naps"
group = "beds"

[components.neighbour]
use = "tests.support.samples:Quiet"
group = "beds"

[components.gateway]
use = "components.gateway:Gateway"

[components.fickle]
use = "why_parts:Fickle"
"""
FICKLE = """
from pathlib import Path

class Fickle:
    def __init__(self, context): pass
    async def startup(self):
        if Path(__file__).with_name("no-ink").exists():
            raise ValueError("no ink")
    async def shutdown(self): pass
    def get_routes(self): return None
    def health_check(self): return {"status": "ok"}
"""


def why(running: Backend, name: str) -> dict[str, Any]:
    """Return the story, once the control plane answers."""
    done = running.ctl("why", name, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def kill(running: Backend, replica: str) -> None:
    """Kill the replica's process, and wait until that was seen."""
    before = running.replica(replica)
    os.kill(before["pid"], signal.SIGKILL)

    def seen() -> bool:
        now = running.replica(replica)
        return now["state"] == "failed" or (now["state"] == "ready" and now["pid"] != before["pid"])

    wait_until(seen, 30.0, every_s=0.1)


class TestStories:
    def test_each_trouble_is_told_with_its_cause_and_what_to_do(self, tmp_path: Path) -> None:
        """One launch for all of them, since a launch is what takes time."""
        (tmp_path / "ctl.toml").write_text(FLEET)
        (tmp_path / "why_parts.py").write_text(FICKLE)
        (tmp_path / "why_late.py").write_text("from tests.support.samples import Quiet")
        with backend(tmp_path / "ctl.toml") as running:
            running.ctl_launch_detached("hybrid")
            self.imports_what_is_not_there(running, tmp_path)
            self.is_killed_and_then_loops(running)
            self.is_stopped_by_hand(running)
            self.blocks_its_loop(running)
            self.fails_to_be_replaced(running, tmp_path)
            running.ctl("stop")

    def imports_what_is_not_there(self, running: Backend, folder: Path) -> None:
        running.ctl("stop", "late")
        (folder / "why_late.py").write_text("import no_such_module")
        assert running.ctl("start", "late").returncode == 1
        story = why(running, "late")
        assert story["sentence"].startswith("late has failed: ")
        assert "no_such_module" in story["sentence"]
        assert "a restart would not help" in story["sentence"]
        assert "mend the module or its configuration, then: ctl restart late" in story["advice"]

    def is_killed_and_then_loops(self, running: Backend) -> None:
        kill(running, "victim-1")
        story = why(running, "victim")
        assert "victim is ready" in story["sentence"]
        assert "1 restart, the last" in story["sentence"]
        told = [each["what"] for each in story["happened"]]
        assert told.count("was killed by signal 9 (SIGKILL); started again at once") == 1
        assert sum("SIGKILL" in what for what in told) == 1
        assert told[-1].startswith("started, and was ready after")
        assert story["traceback"] == []
        kill(running, "victim-1")
        story = why(running, "victim-1")
        assert story["sentence"].startswith(
            "victim-1 has failed: its process was killed by signal 9 (SIGKILL"
        )
        assert "crash loop: 2 exits in 600 s" in story["sentence"]
        assert story["happened"][-1]["what"].endswith("(SIGKILL); crash loop: 2 exits in 600 s")
        assert story["advice"][0] == "mend the cause, then: ctl start victim"

    def is_stopped_by_hand(self, running: Backend) -> None:
        running.ctl("stop", "neighbour")
        story = why(running, "neighbour")
        assert story["sentence"].startswith("neighbour is stopped, as somebody asked, ")
        assert story["advice"] == ["ctl start neighbour"]
        assert story["happened"][-1]["what"] == "'stop' was done, as somebody asked"
        running.ctl("start", "neighbour")

    def blocks_its_loop(self, running: Backend) -> None:
        status = running.status()
        assert status is not None
        prefix = next(each["prefix"] for each in status["components"] if each["name"] == "sleeper")
        assert request(f"{status['gateway']['url']}{prefix}/nap/0.6")[0] == 200
        story = wait_until(lambda: (s := why(running, "sleeper"))["advice"] and s, 10.0, every_s=0.1)
        assert any("samples.py" in each["what"] and "blocked" in each["what"] for each in story["happened"])
        assert "ctl move sleeper --to isolated" in story["advice"]

    def fails_to_be_replaced(self, running: Backend, folder: Path) -> None:
        (folder / "no-ink").touch()
        assert running.ctl("restart", "fickle").returncode == 1
        story = why(running, "fickle")
        assert story["sentence"].startswith("fickle is ready")
        assert "the last restart failed: " in story["sentence"]
        assert story["sentence"].endswith("what ran before still runs")
        assert "ValueError: no ink" in story["traceback"][-1]
