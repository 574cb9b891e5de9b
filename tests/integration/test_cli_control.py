"""The commands that ask a control plane, each as a process, against the real API in another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import NoControlPlane
from control_plane.cli.client import ControlClient
from tests.support.wait import wait_until


class Place:
    """A runtime folder with a control plane in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.socket = home / "control.sock"
        self.client = ControlClient(self.socket, home=home)
        self.env = {**os.environ, "CTL_HOME": str(home)}
        self.control_plane: subprocess.Popen[bytes] | None = None

    def serve(self, **env: str) -> Place:
        command = [sys.executable, "-m", "tests.support.fake_control_plane", self.socket, self.home / "logs"]
        self.control_plane = subprocess.Popen(command, env={**self.env, **env})
        wait_until(self._answers, timeout_s=20)
        return self

    def _answers(self) -> bool:
        try:
            return self.client.get("/healthz") is not None
        except NoControlPlane:
            return False

    def ctl(self, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "control_plane.cli", *argv],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def destroy(self) -> None:
        if self.control_plane is not None:
            self.control_plane.kill()
            self.control_plane.wait()


@pytest.fixture
def place() -> Iterator[Place]:
    # Short, since AF_UNIX allows about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ctl-", dir="/tmp") as home:
        made = Place(Path(home))
        yield made
        made.destroy()


class TestStatus:
    def test_a_ready_backend_exits_with_0(self, place: Place) -> None:
        done = place.serve().ctl("status")

        assert (done.returncode, done.stderr) == (0, "")
        assert "novel  single  ready" in done.stdout
        assert "writer-1" in done.stdout
        assert "\x1b" not in done.stdout

    def test_one_that_is_not_exits_with_3(self, place: Place) -> None:
        place.serve(CTL_TEST_UNREADY="1")

        assert place.ctl("status").returncode == 3
        assert place.ctl("status", "writer").returncode == 3

    def test_json_is_the_answer_of_the_api(self, place: Place) -> None:
        place.serve()
        done = place.ctl("status", "--json")

        assert json.loads(done.stdout) == place.client.get("/v1/status")

    def test_an_unknown_name_is_an_error_with_the_near_miss(self, place: Place) -> None:
        done = place.serve().ctl("status", "wirter")

        assert (done.returncode, done.stdout) == (1, "")
        assert "E3002 unknown component 'wirter'. Did you mean 'writer'?" in done.stderr

    def test_watch_never_scrolls_a_small_terminal(self, place: Place) -> None:
        place.serve()
        main_fd, terminal_fd = os.openpty()
        termios.tcsetwinsize(terminal_fd, (4, 30))
        watching = subprocess.Popen(
            [sys.executable, "-m", "control_plane.cli", "status", "--watch"],
            env=place.env,
            stdout=terminal_fd,
        )
        try:
            drawn = b""
            while b"\x1b[J" not in drawn:
                drawn += os.read(main_fd, 65_536)
        finally:
            watching.kill()
            watching.wait()
            os.close(terminal_fd)
            os.close(main_fd)
        first = drawn.partition(b"\x1b[J")[0]  # the next one may have come with it
        assert (first.count(b"\n"), first.startswith(b"\x1b[?7l")) == (3, True)

    def test_watch_prints_until_it_is_interrupted(self, place: Place) -> None:
        place.serve()
        watching = subprocess.Popen(
            [sys.executable, "-m", "control_plane.cli", "status", "--watch", "--json"],
            env=place.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        with watching.stdout:
            assert json.loads(watching.stdout.readline())["ready"] is True
            watching.send_signal(signal.SIGINT)

            assert watching.wait(10) == 130


class TestRequests:
    @pytest.mark.parametrize("command", ["start writer", "stop writer", "restart writer", "scale writer=3"])
    def test_each_says_what_was_done(self, place: Place, command: str) -> None:
        done = place.serve().ctl(*command.split())

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"writer: {command.split()[0]} done in ")

    def test_nothing_is_requested_when_one_name_is_wrong(self, place: Place) -> None:
        done = place.serve().ctl("restart", "writer", "wirter")

        assert (done.returncode, done.stdout) == (1, "")

    def test_json_lists_the_outcomes(self, place: Place) -> None:
        done = place.serve().ctl("scale", "writer=3", "--json")

        assert [outcome["component"] for outcome in json.loads(done.stdout)] == ["writer"]


class TestStop:
    def test_it_prints_the_ledger_and_returns_when_the_process_has_ended(self, place: Place) -> None:
        done = place.serve().ctl("stop")

        assert place.control_plane is not None
        assert place.control_plane.wait(0) == 0
        assert done.returncode == 0, done.stderr
        header, chapters, total = done.stdout.splitlines()
        assert "ACCEPTED" in header
        assert chapters.split() == ["chapters", "writer", "3", "=", "1", "+", "1", "+", "1"]
        assert total.split() == ["total", "3", "=", "1", "+", "1", "+", "1"]

    def test_a_ledger_that_does_not_add_up_exits_with_1(self, place: Place) -> None:
        done = place.serve(CTL_TEST_LOSSY="1").ctl("stop")

        assert done.returncode == 1
        assert "does not add up" in done.stdout
        assert "E3005 the ledger does not add up. Stream 'chapters' of 'writer'." in done.stderr

    def test_json_is_the_report(self, place: Place) -> None:
        done = place.serve().ctl("stop", "--json")

        assert json.loads(done.stdout)["ok"] is True
        assert done.stderr == ""

    def test_a_control_plane_that_dies_meanwhile_is_an_error(self, place: Place) -> None:
        place.serve(CTL_TEST_ENDLESS="1")
        command = [sys.executable, "-m", "control_plane.cli", "stop"]
        stopping = subprocess.Popen(command, env=place.env, stderr=subprocess.PIPE, text=True)
        assert place.control_plane is not None
        assert stopping.stderr is not None
        with stopping.stderr:
            assert "stop asked" in stopping.stderr.readline()
            place.control_plane.kill()

            assert stopping.wait(10) == 1
            assert "E3003 the control plane went away" in stopping.stderr.read()


class TestListings:
    def test_events_are_one_line_each(self, place: Place) -> None:
        place.serve()
        plain, as_json = place.ctl("events"), place.ctl("events", "--json", "--type", "host.heartbeat")

        assert plain.returncode == as_json.returncode == 0
        assert "component.transitioned  writer" in plain.stdout.splitlines()[1]
        assert [json.loads(line)["data"] for line in as_json.stdout.splitlines()] == [{"pid": 7}]

    def test_streams_are_a_table_or_json(self, place: Place) -> None:
        place.serve()

        assert "chapters" in place.ctl("streams", "chapters").stdout
        assert json.loads(place.ctl("streams", "--json").stdout)[0]["accepted"] == 3
        assert "Did you mean 'chapters'" in place.ctl("streams", "chapter").stderr
