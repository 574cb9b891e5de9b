"""The command line as far as it goes without a control plane: verbs, help, errors, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest

from contracts.errors import ConfigError, ControlError
from control_plane.cli import main as cli
from control_plane.cli.log_view import log_text
from control_plane.cli.main import VERBS, main
from control_plane.cli.show import MAX_SHOWN_CHARS, Cell, Style, table
from control_plane.cli.status_view import duration_text
from control_plane.cli.stop_view import verdict
from control_plane.cli.values import duration_s, name_and_number
from control_plane.logs import LogLine

HEAVY = ("pydantic", "fastapi", "faststream", "redis", "aiohttp", "uvicorn", "rich", "asyncio")
# Each takes about as long to load as everything else that a command without a launch loads.
SLOW = ("asyncio", "http.client", "ssl", "email", "inspect")
CONFIG = """
[components.writer]
use = "a.b:C"
depends_on = ["critic"]

[components.critic]
use = "a.b:D"
group = "g"
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, as the working folder."""
    for name in ("CTL_HOME", "CTL_CONFIG", "CI"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ctl.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestVerbs:
    @pytest.mark.parametrize("verb", VERBS)
    def test_help_of_every_verb_has_examples_that_parse(
        self, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = import_module(f"control_plane.cli.verbs.{verb}")
        with pytest.raises(SystemExit) as caught:
            main([verb, "--help"])

        shown = capsys.readouterr().out
        assert caught.value.code == 0
        assert module.HELP in shown
        assert module.HELP.endswith(".")
        for line in module.EXAMPLES.splitlines():
            assert line in shown
        monkeypatch.setattr(module, "run", lambda args: 0)
        assert main(_example(module.EXAMPLES)) == 0

    def test_the_overview_names_every_verb(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--help"]) == main([]) == 0

        shown = capsys.readouterr().out
        assert all(f"  {verb} " in shown for verb in VERBS)

    @pytest.mark.parametrize(
        "argv", [["--json", "version"], ["version", "--json"], ["--json", "version", "--json"]]
    )
    def test_common_options_may_stand_on_either_side_of_the_verb(
        self, argv: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(argv) == 0
        assert json.loads(capsys.readouterr().out)["coplane"]

    @pytest.mark.parametrize(
        "argv", [["--config", "x.toml", "config", "validate"], ["config", "--config", "x.toml", "validate"]]
    )
    def test_a_named_configuration_is_read_on_either_side(
        self, argv: list[str], project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (project / "ctl.toml").rename(project / "x.toml")

        assert main(argv) == 0
        assert "x.toml is valid" in capsys.readouterr().out


def _example(examples: str) -> list[str]:
    """Return the arguments of the first example, without its comment."""
    return examples.splitlines()[0].split("   ")[0].split("|")[0].split()[1:]


class TestErrors:
    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            (["statsu"], "E1009 unknown command 'statsu'. Did you mean 'status'?"),
            (["--bogus"], "E1009 unknown option '--bogus'"),
            (["status", "--bogus"], "--bogus"),
            (["launch", "--mode", "double"], "E1009 argument --mode"),
            (["launch", "--timeout", "0"], "E1009 argument --timeout: '0' must be more than 0"),
            (["scale", "writer"], "'writer' is not NAME=N"),
            (["logs", "--grep", "("], "is no regular expression"),
            (["launch", "--dry-run", "wirter"], "E1001 unknown component 'wirter'. Did you mean 'writer'?"),
            (["status", "--config", "none.toml"], "E1006 no configuration file"),
            (["host", "wirter"], "E1001 unknown component 'wirter'. Did you mean 'writer'?"),
            (["host", "writer"], "E1010 there is no bus that this host could share"),
            (["host", "writer", "--listen", "here"], "E1009 --listen 'here' is no address"),
            (["host", "writer", "--listen", "tcp://"], "E1009 --listen 'tcp://' is no address"),
            (["host", "writer", "--listen", "tcp://h:x"], "E1009 --listen 'tcp://h:x' is no address"),
            (["host", "writer", "--listen", "unix:///"], "E1009 --listen 'unix:///' is no address"),
            (["host", "writer", "--replica", "../x", "--listen", "x"], "E1009 --replica '../x' is no id"),
        ],
    )
    def test_what_is_wrong_is_said_on_stderr_with_exit_code_2(
        self, argv: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if "--listen" in argv:
            monkeypatch.setenv("CTL_BUS__URL", "redis://localhost")
        assert main(argv) == 2

        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.out == ""
        assert "Traceback" not in captured.err

    def test_an_error_is_json_where_json_was_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["status", "--json"]) == 4

        captured = capsys.readouterr()
        assert json.loads(captured.err)["error"]["code"] == "E3001"
        assert captured.out == ""

    @pytest.mark.parametrize(
        "argv", [["status"], ["stop"], ["restart", "writer"], ["events"], ["streams"], ["status", "--watch"]]
    )
    def test_without_a_control_plane_the_exit_code_is_4(
        self, argv: list[str], project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(argv) == 4
        assert f"E3001 no control plane answers in {project}/.ctl" in capsys.readouterr().err
        assert not (project / ".ctl").exists()

    def test_the_detail_is_shown_below(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_with(monkeypatch, ConfigError("broken", code="E1002", detail="line one\nline two\n"))

        assert main(["version"]) == 2
        assert capsys.readouterr().err == "E1002 broken.\nline one\nline two\n"

    def test_an_interrupt_exits_with_130_and_no_traceback(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_with(monkeypatch, KeyboardInterrupt())

        assert main(["version"]) == 130
        assert capsys.readouterr().err == ""

    def test_a_fault_of_our_own_shows_its_traceback(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fail_with(monkeypatch, ZeroDivisionError("oops"))

        assert main(["version"]) == 1
        assert "Traceback" in (shown := capsys.readouterr().err)
        assert shown.endswith("ctl failed by a fault of its own: ZeroDivisionError: oops\n")


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", fail)


class TestImports:
    @pytest.mark.parametrize("argv", ["status", "stop", "streams", "events", "restart writer", "why writer"])
    def test_asking_the_control_plane_loads_nothing_heavy(self, argv: str) -> None:
        code = (
            "import sys; from control_plane.cli.main import main; main(sys.argv[2:]); "
            "sys.exit(','.join(set(sys.argv[1].split(',')) & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, ",".join(HEAVY), *argv.split()],
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.stderr.splitlines()[1:] == [""], done.stderr

    @pytest.mark.parametrize(("argv", "exit_code"), [("--help", 0), ("status --help", 0), ("status", 4)])
    def test_what_has_to_answer_at_once_loads_nothing_slow(self, argv: str, exit_code: int) -> None:
        code = (
            "import sys; before = set(sys.modules)\n"  # such as what measures the coverage
            "from control_plane.cli.main import main\n"
            "try: exit_code = main(sys.argv[2:])\n"
            "except SystemExit as end: exit_code = end.code\n"
            "print('loaded', *set(sys.argv[1].split(',')) & (set(sys.modules) - before))\n"
            "sys.exit(exit_code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, ",".join({*HEAVY, *SLOW}), *argv.split()],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stdout.splitlines()[-1]) == (exit_code, "loaded"), done.stderr


class TestDryRun:
    def test_it_says_what_would_run_where_and_creates_nothing(
        self, project: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["launch", "--dry-run", "--mode", "hybrid", "--json"]) == 0

        plan = json.loads(capsys.readouterr().out)
        assert plan["hosts"].pop("gateway-1") == ["gateway-1"]
        assert plan["hosts"] == {"writer-1": ["writer-1"], "group.g": ["critic-1"]}
        assert plan["start_order"] == [["critic", "gateway"], ["writer"]]
        assert [path.name for path in project.iterdir()] == ["ctl.toml"]

    def test_a_person_reads_a_table(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["launch", "--dry-run"]) == 0
        assert "local  gateway-1, writer-1, critic-1" in capsys.readouterr().out


class TestLogs:
    @pytest.fixture(autouse=True)
    def logs(self, project: Path) -> Path:
        folder = project / ".ctl" / "logs"
        folder.mkdir(parents=True)
        now = datetime.now(UTC).isoformat()
        (folder / "writer-1.log").write_text(
            json.dumps({"at": now, "level": "error", "message": "boom", "story": 7, "logger": "x"}) + "\n"
        )
        (folder / "critic-1.out.log").write_bytes(b"\x1b[31mred\x1b[0m \x1b]0;title\x07\x00 bell\n")
        return folder

    def shown(self, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
        assert main(["logs", *argv]) == 0
        return capsys.readouterr().out

    def test_all_lines_are_shown_without_any_escape_sequence(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown = self.shown(capsys)

        assert "boom story=7" in shown
        assert "red \\x00 bell" in shown
        assert "\x1b" not in shown

    def test_lines_are_chosen_by_name_level_expression_and_age(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert "bell" not in self.shown(capsys, "writer")
        assert "bell" not in self.shown(capsys, "--level", "warning")
        assert "bell" not in self.shown(capsys, "--grep", "story=\\d")
        assert "boom" in self.shown(capsys, "--since", "1m")

    def test_json_is_one_object_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = [json.loads(line) for line in self.shown(capsys, "--json").splitlines()]

        assert {line["component"] for line in lines} == {"writer", "critic"}

    def test_half_a_surrogate_pair_is_shown_as_json_has_it(self, logs: Path, project: Path) -> None:
        (logs / "writer-1.log").write_text(
            '{"at": "2026-01-01T00:00:00+00:00", "message": "file \\udc80", "logger": "x"}\n'
        )
        ctl = [sys.executable, "-m", "control_plane.cli", "logs", "writer", "--config", project / "ctl.toml"]

        done = subprocess.run([*ctl, "--json"], capture_output=True, text=True, check=True)

        assert json.loads(done.stdout)["message"] == "file \udc80"

    def test_a_name_without_logs_is_an_error_with_the_near_miss(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["logs", "wirter"]) == 1
        assert "E3002 no logs of 'wirter'. Did you mean 'writer'" in capsys.readouterr().err

    def test_a_reader_who_has_seen_enough_is_not_an_error(self, logs: Path, project: Path) -> None:
        (logs / "writer-1.out.log").write_text("line\n" * 100_000)
        ctl = f"{sys.executable} -m control_plane.cli logs --config {project}/ctl.toml"

        done = subprocess.run(
            ["bash", "-c", f"{ctl} | head -1; exit ${{PIPESTATUS[0]}}"],
            capture_output=True,
            text=True,
            check=False,
        )

        assert (done.returncode, done.stderr) == (0, "")


class TestValues:
    @pytest.mark.parametrize(
        ("text", "seconds"), [("90", 90), ("5m", 300), ("1h30m", 5_400), ("250ms", 0.25), ("1.5s", 1.5)]
    )
    def test_durations(self, text: str, seconds: float) -> None:
        assert duration_s(text) == seconds

    @pytest.mark.parametrize("text", ["", "m", "5x", "5m!", "-3", "1 h", "infs"])
    def test_what_is_no_duration(self, text: str) -> None:
        with pytest.raises(ArgumentTypeError, match="is no duration"):
            duration_s(text)

    @pytest.mark.parametrize("text", ["writer", "writer=", "=3", "writer=-1", "writer=²", "writer=257"])
    def test_what_is_no_number_of_replicas(self, text: str) -> None:
        with pytest.raises(ArgumentTypeError):
            name_and_number(text)


class TestShowing:
    def test_columns_are_aligned_whatever_their_colours(self) -> None:
        rows = [[Cell("a", "red"), Cell("1", right=True)], [Cell("long"), Cell("100", right=True)]]

        assert table(("X", "N"), rows, Style(colour=False)) == ["X       N", "a       1", "long  100"]
        assert table(("X", "N"), rows, Style(colour=True))[1] == "\x1b[31ma\x1b[0m       1"

    @pytest.mark.parametrize("colour", [False, True])
    def test_a_cell_has_no_control_over_the_terminal(self, colour: bool) -> None:
        rows = [[Cell("\x1b]0;title\x07bad\x1b[2J"), Cell("next")]]

        assert table(("X", "N"), rows, Style(colour=colour))[1] == "bad  next"

    def test_colours_stay_where_a_terminal_shows_them_and_nothing_else_does(self) -> None:
        text = "\x1b[2J\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b5n\u202e"

        assert Style(colour=True).harmless(text) == "\x1b[31mred\x1b[0m\\x9b5n\\u202e\x1b[0m"
        assert Style(colour=False).harmless(text) == "red\\x9b5n\\u202e"

    def test_a_line_of_megabytes_is_cut(self) -> None:
        shown = Style(colour=False).harmless("x" * 1_000_000)

        assert shown == "x" * MAX_SHOWN_CHARS + f"… ({1_000_000 - MAX_SHOWN_CHARS} more characters)"

    def test_the_day_is_shown_where_it_is_not_today(self) -> None:
        at = datetime(2026, 1, 2, 12, tzinfo=UTC)
        line = LogLine(at=at, message="m", label="control")

        day = at.astimezone().date()
        assert f"{day}" in log_text(line, Style(colour=False), today=day.replace(year=2027))
        assert f"{day}" not in log_text(line, Style(colour=False), today=day)

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.4, "0s"), (61, "1m 1s"), (3_660, "1h 1m"), (90_000, "1d 1h")]
    )
    def test_durations_have_their_two_largest_units(self, seconds: float, text: str) -> None:
        assert duration_text(seconds) == text

    def test_ledgers_that_could_not_be_read_are_no_success(self) -> None:
        error = verdict({"ok": False, "streams": [], "problem": "the bus is gone"})

        assert isinstance(error, ControlError)
        assert str(error).startswith("E3005 the ledgers could not be read. The bus is gone.")
