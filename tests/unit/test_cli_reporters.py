"""How a launch is shown: on a terminal, in a pipe, as JSON, and to whoever started it in the background."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ExitCode, LaunchError, NotReadyInTime
from control_plane.cli import background
from control_plane.cli.background import launch_detached
from control_plane.cli.process_end import end_of
from control_plane.cli.reporters.json_lines import JsonReporter
from control_plane.cli.reporters.lines import LineReporter
from control_plane.cli.reporters.outlet import MAX_WAITING_LINES, Outlet
from control_plane.cli.reporters.terminal import TerminalReporter
from control_plane.cli.show import Style
from control_plane.launch_options import LaunchOptions, LaunchReporter
from control_plane.logs import LogLine
from tests.support.fake_control_plane import LEDGER, REPORT, status
from tests.support.wait import wait_until

LINE = LogLine(at=datetime(2026, 1, 1, tzinfo=UTC), message="hello", label="writer-1", replica="writer-1")
FAILURE = {"code": "E5003", "what": "startup raised", "why": "no key", "fix": "", "detail": "Traceback"}


def whole_launch(reporter: LaunchReporter) -> None:
    """Tell the reporter of a launch from its beginning to its end."""
    reporter.starting("novel", "single", "as configured")
    reporter.progress(status(ready=False), 0.1)
    reporter.component_failed("critic", FAILURE)
    reporter.progress(status(), 0.25)
    reporter.ready(status(), 0.25)
    reporter.log(LINE)
    reporter.stopping("SIGINT")
    reporter.stop_progress(status(ready=False))
    reporter.stopped(REPORT)


class TestLines:
    def test_progress_goes_to_stderr_one_line_a_change(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        whole_launch(LineReporter(out, err, style=Style(colour=False)))

        assert err.getvalue().splitlines() == [
            "launching novel in single mode (as configured)",
            "   0.10 s  writer-1 starting",
            "critic failed: E5003 startup raised. No key.",
            "Traceback",
            "   0.25 s  writer-1 ready",
            "stopping: SIGINT; Ctrl+C again to force it",
            "writer-1 starting",
        ]

    def test_results_and_logs_go_to_stdout(self) -> None:
        out, err = io.StringIO(), io.StringIO()
        whole_launch(LineReporter(out, err, style=Style(colour=False)))

        ready, log, header, *ledgers = out.getvalue().splitlines()
        assert ready.startswith("novel is ready after 0.25 s: backend http://127.0.0.1:8000")
        assert log.endswith("hello")
        assert "ACCEPTED" in header
        assert [line.split()[0] for line in ledgers] == ["chapters", "total"]

    def test_streams_that_nobody_used_are_left_out(self) -> None:
        out = io.StringIO()
        unused = LEDGER.model_copy(
            update={"stream": "unused", "accepted": 0, "acknowledged": 0, "left": 0, "dead": 0}
        )
        report = REPORT.model_copy(update={"streams": (unused, LEDGER)})
        LineReporter(out, io.StringIO(), style=Style(colour=False)).stopped(report)

        assert "chapters" in out.getvalue()
        assert "unused" not in out.getvalue()

    def test_a_stop_tells_only_what_changed_since_the_launch_was_ready(self) -> None:
        err = io.StringIO()
        reporter = LineReporter(io.StringIO(), err, style=Style(colour=False))
        reporter.ready(status(), 1.0)
        reporter.stop_progress(status())
        reporter.stopped(REPORT)

        assert err.getvalue() == ""

    def test_what_failed_is_named_where_the_launch_is_up_without_it(self) -> None:
        out = io.StringIO()
        reporter = LineReporter(out, io.StringIO(), style=Style(colour=False))
        reporter.ready(status(ready=False), 1.0)
        reporter.stopped(REPORT)

        assert out.getvalue().startswith("novel is up without writer after 1.00 s")

    def test_a_ledger_that_does_not_add_up_is_an_error(self) -> None:
        err = io.StringIO()
        wrong = LEDGER.model_copy(update={"adds_up": False})
        report = REPORT.model_copy(update={"ok": False, "streams": (wrong,), "forced": ("h-1",)})
        out = io.StringIO()
        LineReporter(out, err, style=Style(colour=False)).stopped(report)

        assert err.getvalue().startswith("E3005 the ledger does not add up")
        assert out.getvalue().startswith("killed, not drained: h-1")

    def test_an_error_after_the_end_is_still_said(self) -> None:
        err = io.StringIO()
        reporter = LineReporter(io.StringIO(), err, style=Style(colour=False))
        whole_launch(reporter)
        reporter.error(LaunchError("broken", code="E2009"))

        assert err.getvalue().endswith("E2009 broken.\n")

    def test_an_error_that_no_stop_came_before_is_said_at_once(self) -> None:
        err = io.StringIO()
        reporter = LineReporter(io.StringIO(), err, style=Style(colour=False))
        reporter.ready(status(), 1.0)
        reporter.restarting("the anchor died")
        reporter.ready(status(), 1.0)
        reporter.error(LaunchError("broken", code="E2009"))

        assert err.getvalue() == "the anchor died; starting anew\nE2009 broken.\n"


class TestJson:
    def test_every_line_is_an_object_with_its_event(self) -> None:
        out = io.StringIO()
        reporter = JsonReporter(out)
        whole_launch(reporter)
        reporter.error(LaunchError("broken", code="E2009"))

        events = [json.loads(line) for line in out.getvalue().splitlines()]
        assert [event["event"] for event in events] == [
            "starting",
            "progress",
            "component_failed",
            "progress",
            "ready",
            "log",
            "stopping",
            "stop_progress",
            "stopped",
            "error",
        ]
        assert events[4]["status"]["gateway"]["url"] == "http://127.0.0.1:8000"
        assert events[-1]["error"]["code"] == "E2009"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class TestTerminal:
    def test_the_table_shows_states_and_times_in_colours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        out, err = Terminal(), Terminal()
        whole_launch(TerminalReporter(out, err, style=Style(colour=True)))

        assert "READY AFTER" in err.getvalue()
        assert "\x1b[32mready" in err.getvalue()
        assert "0.25 s" in err.getvalue()
        assert "novel is ready" in out.getvalue()

    def test_drawing_needs_no_thread(self) -> None:
        reporter = TerminalReporter(Terminal(), Terminal(), style=Style(colour=True))
        before = threading.active_count()
        reporter.starting("novel", "single", "as configured")
        reporter.progress(status(ready=False), 0.1)

        assert threading.active_count() == before
        reporter.error(LaunchError("broken"))


class TestOutlet:
    @pytest.fixture
    def pipe(self) -> Iterator[tuple[Any, Any]]:
        read_fd, write_fd = os.pipe()
        with open(read_fd) as reader, open(write_fd, "w") as writer:
            yield reader, writer

    def test_a_reader_that_sleeps_costs_log_lines_and_no_time(self, pipe: tuple[Any, Any]) -> None:
        reader, writer = pipe
        outlet = Outlet(writer)
        outlet.start()
        for number in range(2 * MAX_WAITING_LINES):
            outlet.log(f"{number} {'x' * 100}")
        outlet.say("important")

        read: list[str] = []
        while "important" not in read:
            read.append(reader.readline().rstrip())
        outlet.log("the next one")
        outlet.close()
        writer.close()
        read += reader.read().splitlines()
        # Where they were left out is the writer's luck: it may have caught up in between.
        assert any("log lines left out" in line for line in read)
        assert len(read) < 2 * MAX_WAITING_LINES
        assert read[-1] == "the next one"

    def test_a_reader_that_went_away_is_not_missed(self, pipe: tuple[Any, Any]) -> None:
        reader, writer = pipe
        reader.close()
        outlet = Outlet(writer)
        outlet.say("x" * 100_000)
        outlet.start()
        outlet.say("more")
        outlet.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer.fileno())


class Recorder(JsonReporter):
    """A reporter whose events can be read back."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        super().__init__(self.out)

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.out.getvalue().splitlines()]


class TestInTheBackground:
    """The child is a script instead of a real launch; pipe, session and exit codes are real."""

    @pytest.fixture
    def launch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        def launch(script: str, *, timeout_s: float = 30.0) -> tuple[int, list[str]]:
            prelude = (
                "import os, sys, time, signal, subprocess; fd = int(sys.argv[1])\n"
                "from contracts.errors import NotReadyInTime\n"
                "from control_plane.cli.reporters.relayed import RelayedReporter\n"
                "from tests.support.fake_control_plane import REPORT, status\n"
                "reporter = RelayedReporter(fd, sys.stderr)\n"
            )
            monkeypatch.setattr(
                background, "command", lambda options, fd: [sys.executable, "-c", prelude + script, str(fd)]
            )
            recorder = Recorder()
            options = LaunchOptions(timeout_s=timeout_s)
            return launch_detached(options, recorder, logs=tmp_path), recorder.events()

        return launch

    def test_it_returns_when_ready_and_leaves_the_launch_running(self, launch: Any, tmp_path: Path) -> None:
        exit_code, events = launch(
            "print(os.getpid(), os.getsid(0), flush=True)\n"
            "reporter.starting('novel', 'multi', 'because')\n"
            "reporter.progress(status(ready=False), 0.1)\n"
            "reporter.ready(status(), 0.2)\n"
            "reporter.log(None); reporter.stopping('x'); reporter.stopped(REPORT)\n"
            "signal.pause()\n"
        )

        assert (exit_code, events) == (0, ["starting", "progress", "ready"])
        log = tmp_path / "launch.log"
        wait_until(lambda: "ACCEPTED" in log.read_text())
        pid, session = map(int, log.read_text().split()[:2])
        assert session == pid != os.getsid(0)
        with end_of(pid) as end:
            os.kill(pid, signal.SIGKILL)
            assert end.wait(10)

    def test_a_launch_that_is_not_wholly_ready_exits_with_1(self, launch: Any) -> None:
        assert launch("reporter.ready(status(ready=False), 0.2)") == (ExitCode.FAILED, ["ready"])

    def test_a_failed_launch_is_told_with_its_own_exit_code(self, launch: Any) -> None:
        script = "reporter.error(NotReadyInTime('late', code='E2008')); sys.exit(3)"

        assert launch(script) == (3, ["error"])

    def test_a_launch_that_ends_without_a_word_is_an_error(self, launch: Any) -> None:
        with pytest.raises(LaunchError, match=r"ended with exit code 1 before .*launch\.log"):
            launch("raise ValueError")

    def test_the_death_of_the_launch_is_noticed_though_its_children_hold_the_pipe(self, launch: Any) -> None:
        script = (
            "os.set_inheritable(fd, True)\n"
            "subprocess.Popen(['sleep', '3'], close_fds=False)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )

        with pytest.raises(LaunchError, match="ended with signal SIGKILL before"):
            launch(script)

    def test_silence_is_an_error_in_the_end(self, launch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(background, "MARGIN_S", 0.1)

        with pytest.raises(NotReadyInTime, match=r"E2008 nothing was heard .* \(process (\d+)\)") as caught:
            launch("signal.pause()", timeout_s=0.1)

        os.kill(int(str(caught.value).split("process ")[1].split(")")[0]), signal.SIGKILL)


class TestTheEndOfAProcess:
    @pytest.mark.parametrize("way", ["told", "looking"])
    def test_it_is_waited_for_with_a_deadline(self, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if way == "looking":
            monkeypatch.delattr(os, "pidfd_open")
        process = subprocess.Popen(["sleep", "60"])
        with end_of(process.pid) as end:
            assert not end.wait(0.1)
            process.kill()
            if way == "looking":
                process.wait()
            assert end.wait(10)
        process.wait()
