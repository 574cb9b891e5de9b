"""`ctl export`: what the configuration is in the files of other tools, and that it comes back."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ConfigError
from control_plane.config import Loaded
from control_plane.conversion.exporting import compose, procfile, systemd
from control_plane.runtime.environment import declared
from tests.support.conversion import components, imported, imported_text, loaded, shop

PROGRAMS = """
[components.web]
command = ["python", "serve.py", "--port", "{port}", "--title", "50% of $HOME; \\"x\\""]
port = 0
replicas = 2
depends_on = ["worker"]
[components.worker]
command = ["sh", "-c", "exec work --queue $QUEUE"]
cwd = "jobs"
env_file = "jobs/.env"
replicas = 2
env = { QUEUE = "high 'prio'" }
stop_signal = "SIGINT"
grace_period_s = 0
restart = { policy = "always", max_restarts = 3, window_s = 30 }
health = { exec = ["check"], timeout_s = 1.5 }
limits = { memory_mb = 256 }
"""
HOSTED = """
[bus]
url = "redis://bus.example:6379/0"
[gateway]
port = 8080
[components.writer]
use = "agents:Writer"
replicas = 2
depends_on = ["critic"]
[components.critic]
use = "agents:Critic"
"""
# What sh, systemd and Compose each read otherwise than python-dotenv does.
DOTENV = "export A=1\nB=My App\nC='two $$' # three\nQUEUE=low\n"
OF_DOTENV = {"A": "1", "B": "My App", "C": "two $$", "QUEUE": "high 'prio'"}
LINES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85"))


def project(folder: Path, text: str) -> Loaded:
    (folder / "jobs").mkdir(exist_ok=True)
    (folder / "jobs" / ".env").write_text(DOTENV)
    return loaded(folder, text)


def lines_of(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines() if not line.startswith("#"))


def services(result: Loaded, folder: Path) -> dict[str, Any]:
    tree = yaml.safe_load(compose.export(result, folder)["compose.yaml"])
    found: dict[str, Any] = tree["services"]
    return found


class TestProcfile:
    @pytest.mark.parametrize("kind", ["procfile", "honcho"])
    def test_procfile_comes_back_as_the_same_commands(self, kind: str, tmp_path: Path) -> None:
        source = shop(tmp_path)
        _, first = imported(kind, source / "Procfile")
        text = procfile.export(first, source)["Procfile"]
        _, second = imported_text(kind, source, text, name="Procfile")
        for name, spec in components(first).items():
            again = components(second)[name]
            assert (again.command, again.cwd, again.env) == (spec.command, spec.cwd, declared(spec))

    @given(st.lists(LINES, min_size=1, max_size=3))
    def test_shell_gives_a_program_the_words_it_had(self, words: list[str]) -> None:
        from contracts.specs import ComponentSpec
        from control_plane.conversion.exporting.plan import Process

        command = ("printf", "[%s]", *words)
        spec = ComponentSpec(name="x", command=command)
        line = procfile._line(Process("x", spec, command, {"A": "b 'c'"}), Path("/"), Path("/"))
        said = subprocess.run(["sh", "-c", line], capture_output=True, check=True, cwd="/").stdout
        assert said.decode() == "".join(f"[{word}]" for word in words)

    def test_each_copy_has_a_line_and_where_it_needs_one_a_port(self, tmp_path: Path) -> None:
        found = lines_of(procfile.export(project(tmp_path, PROGRAMS), tmp_path)["Procfile"])
        assert list(found) == ["web", "web-2", "worker", "worker-2"]
        assert "PORT=5000 python serve.py --port 5000" in found["web"]
        assert "PORT=5001 python serve.py --port 5001" in found["web-2"]
        assert found["worker"] == (
            "cd jobs && exec env A=1 B='My App' C='two $$' QUEUE='high '\"'\"'prio'\"'\"'' "
            "sh -c 'exec work --queue $QUEUE'"
        )

    def test_shell_stays_where_a_folder_comes_before_it(self, tmp_path: Path) -> None:
        """`cd conf && sleep 1 & exec pwd` would print the folder above."""
        text = '[components.x]\ncommand = ["sh", "-c", "sleep 1 & exec pwd"]\n'
        assert lines_of(procfile.export(loaded(tmp_path, text), tmp_path)["Procfile"]) == {
            "x": "sleep 1 & exec pwd"
        }
        (tmp_path / "conf").mkdir()
        found = lines_of(procfile.export(loaded(tmp_path, f'{text}cwd = "conf"\n'), tmp_path)["Procfile"])
        assert found == {"x": "cd conf && exec sh -c 'sleep 1 & exec pwd'"}

    def test_env_file_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.env").write_bytes(b"A=\xe9\n")
        result = loaded(tmp_path, '[components.x]\ncommand = ["a"]\nenv_file = "x.env"\n')
        with pytest.raises(ConfigError, match=r"E1002 .*x\.env is not UTF-8 text"):
            procfile.export(result, tmp_path)

    def test_python_code_is_run_by_hosts_and_the_gateway_comes_along(self, tmp_path: Path) -> None:
        found = lines_of(procfile.export(project(tmp_path, HOSTED), tmp_path)["Procfile"])
        assert found == {
            "gateway": "exec ctl host gateway",
            "writer": "exec ctl host writer",
            "writer-2": "exec ctl host writer",
            "critic": "exec ctl host critic",
        }

    def test_configuration_elsewhere_is_named(self, tmp_path: Path) -> None:
        result = project(tmp_path, HOSTED)
        found = lines_of(procfile.export(result, tmp_path / "deploy")["Procfile"])
        assert found["critic"] == f"exec ctl --config {result.path} host critic"

    def test_gateway_that_leads_nowhere_is_left_out(self, tmp_path: Path) -> None:
        assert "gateway" not in lines_of(procfile.export(project(tmp_path, PROGRAMS), tmp_path)["Procfile"])

    @pytest.mark.parametrize("exporter", [procfile, systemd])
    def test_hosts_without_a_bus_are_refused(self, exporter: Any, tmp_path: Path) -> None:
        text = HOSTED.replace("redis://bus.example:6379/0", "auto")
        with pytest.raises(
            ConfigError, match=r"E1010 bus.url is 'auto'.*gateway, writer, critic.*Set \[bus\]"
        ):
            exporter.export(project(tmp_path, text), tmp_path)

    def test_line_break_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"E1010 components\.x\.command has a line break"):
            procfile.export(loaded(tmp_path, '[components.x]\ncommand = ["a", "b\\nc"]\n'), tmp_path)


class TestSystemd:
    @pytest.mark.parametrize(
        ("word", "written"),
        [
            ("plain-1.0/x", "plain-1.0/x"),
            ("", '""'),
            ("a b", '"a b"'),
            ("100%", "100%%"),
            ("$HOME", "$$HOME"),
            ('say "hi"', r'"say \"hi\""'),
            ("back\\slash", r'"back\\slash"'),
            ("two\nlines", r'"two\nlines"'),
            (";", r"\;"),
            ("it's", '"it\'s"'),
            ("\x07", r'"\x07"'),
        ],
    )
    def test_word_stands_for_itself(self, word: str, written: str) -> None:
        assert systemd.quoted(word) == written

    def test_unit_says_how_its_program_is_supervised(self, tmp_path: Path) -> None:
        units = systemd.export(project(tmp_path, PROGRAMS), tmp_path)
        worker = units["app-worker@.service"].splitlines()
        for line in (
            f"WorkingDirectory={tmp_path}/jobs", "Restart=always",
            "KillSignal=SIGINT", "TimeoutStopSec=1ms", "MemoryMax=256M", "StartLimitIntervalSec=30",
            "StartLimitBurst=4",
        ):  # fmt: skip
            assert line in worker

    def test_variables_are_those_that_the_program_would_get_here(self, tmp_path: Path) -> None:
        unit = systemd.export(project(tmp_path, PROGRAMS), tmp_path)["app-worker@.service"]
        assert re.findall(r'Environment="?([A-Z]+=[^"\n]*)', unit)[1:] == [
            "A=1", "B=My App", "C=two $$", "QUEUE=high 'prio'",
        ]  # fmt: skip
        start = re.search(r"ExecStart=(.*)", unit)
        assert start
        assert start[1].endswith('sh -c "exec work --queue $$QUEUE"')
        assert "EnvironmentFile" not in unit

    def test_long_times_are_plain_decimals(self, tmp_path: Path) -> None:
        text = (
            '[components.x]\ncommand = ["a"]\ngrace_period_s = 1e6\n'
            "[components.x.restart]\nwindow_s = 1234567.5\nbackoff_s = 2.25\n"
        )
        unit = systemd.export(loaded(tmp_path, text), tmp_path)["app-x.service"]
        for line in ("TimeoutStopSec=1000000", "StartLimitIntervalSec=1234567.5", "RestartSec=2.25"):
            assert line in unit.splitlines()

    def test_order_and_target_name_every_instance(self, tmp_path: Path) -> None:
        units = systemd.export(project(tmp_path, PROGRAMS), tmp_path)
        workers = "app-worker@1.service app-worker@2.service"
        assert f"After={workers}" in units["app-web.service"]
        assert f"Wants=app-web.service app-web-2.service {workers}" in units["app.target"]

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
    @pytest.mark.parametrize("text", [PROGRAMS.replace('"python"', '"env"'), HOSTED])
    def test_systemd_understands_every_unit(self, text: str, tmp_path: Path) -> None:
        for name, unit in systemd.export(project(tmp_path, text), tmp_path).items():
            (tmp_path / name).write_text(unit)
        files = [str(path) for path in tmp_path.iterdir() if path.suffix in (".service", ".target")]
        checked = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True)
        assert not [line for line in checked.stderr.splitlines() if str(tmp_path) in line or "app-" in line]


class TestHosts:
    """A host loads the whole configuration again, elsewhere."""

    @pytest.mark.parametrize(
        ("exporter", "said"),
        [
            (procfile, "exec env DB_PASSWORD='a b' ctl host writer"),
            (systemd, 'Environment="DB_PASSWORD=a b"'),
            (compose, "DB_PASSWORD: a b"),
        ],
    )
    def test_variables_of_the_configuration_come_along(
        self, exporter: Any, said: str, tmp_path: Path
    ) -> None:
        text = HOSTED.replace("8080", '"${GATEWAY_PORT:-8080}"') + 'env = { X = "${DB_PASSWORD}" }\n'
        result = loaded(tmp_path, text, {"DB_PASSWORD": "a b", "OTHER": "x"})
        texts = exporter.export(result, tmp_path)
        written = texts.get("app-writer@.service", "".join(texts.values()))
        assert said in written
        assert "OTHER" not in written
        assert "GATEWAY_PORT" not in written

    def test_overrides_of_the_environment_come_along(self, tmp_path: Path) -> None:
        result = loaded(tmp_path, HOSTED, {"CTL_GATEWAY__PORT": "9000", "CTL_HOME": "/x"})
        found = lines_of(procfile.export(result, tmp_path)["Procfile"])
        assert found["gateway"] == "exec env CTL_GATEWAY__PORT=9000 ctl host gateway"

    def test_program_gets_only_its_own(self, tmp_path: Path) -> None:
        text = '[components.x]\ncommand = ["a", "${DB_PASSWORD}"]\n'
        found = lines_of(procfile.export(loaded(tmp_path, text), tmp_path)["Procfile"])
        assert found == {"x": "exec a hunter2"}


class TestCompose:
    def test_program_is_a_service_with_its_supervision(self, tmp_path: Path) -> None:
        found = services(project(tmp_path, PROGRAMS), tmp_path)
        worker = found["worker"]
        assert worker["command"] == ["sh", "-c", "exec work --queue $$QUEUE"]
        assert worker["working_dir"] == "/app/jobs"
        assert worker["environment"] == {**OF_DOTENV, "C": "two $$$$"}
        assert (worker["restart"], worker["stop_signal"], worker["mem_limit"]) == ("always", "SIGINT", "256m")
        assert worker["healthcheck"]["test"] == ["CMD", "check"]
        assert worker["deploy"] == {"replicas": 2}
        assert found["web"]["depends_on"] == {"worker": {"condition": "service_healthy"}}
        assert found["web"]["environment"]["PORT"] == "5000"

    def test_what_it_writes_comes_back(self, tmp_path: Path) -> None:
        first = project(tmp_path, PROGRAMS)
        (text,) = compose.export(first, tmp_path).values()
        _, second = imported_text("compose", tmp_path, text, name="compose.yaml")
        worker, again = components(first)["worker"], components(second)["worker"]
        assert (again.command, again.env, again.env_file) == (worker.command, OF_DOTENV, "")
        assert (again.replicas, again.stop_signal, again.limits) == (2, "SIGINT", worker.limits)
        assert components(second)["web"].command[-1] == '50% of $HOME; "x"'

    @pytest.mark.parametrize("url", ["auto", "redis://localhost:6379/0", "redis://u:p@127.0.0.1:6379"])
    def test_bus_that_containers_do_not_reach_is_a_service(self, url: str, tmp_path: Path) -> None:
        text = HOSTED.replace("redis://bus.example:6379/0", url)
        found = services(project(tmp_path, text), tmp_path)
        assert found["writer"]["environment"]["CTL_BUS__URL"] == "redis://bus:6379/0"
        assert "bus" in found["writer"]["depends_on"]
        assert found["bus"]["image"].startswith("valkey/valkey")
        assert ":p@" not in compose.export(project(tmp_path, text), tmp_path)["compose.yaml"]

    def test_bus_elsewhere_is_left_alone(self, tmp_path: Path) -> None:
        found = services(project(tmp_path, HOSTED), tmp_path)
        assert list(found) == ["gateway", "writer", "critic"]
        assert found["gateway"]["ports"] == ["127.0.0.1:8080:8080"]
        assert found["gateway"]["environment"]["CTL_GATEWAY__HOST"] == "0.0.0.0"

    def test_long_times_are_plain_decimals(self, tmp_path: Path) -> None:
        text = (
            '[components.x]\ncommand = ["a"]\ngrace_period_s = 1e6\nstartup_timeout_s = 1234567.5\n'
            'health = { exec = ["check"], interval_s = 2e6 }\n'
        )
        found = services(loaded(tmp_path, text), tmp_path)["x"]
        assert found["stop_grace_period"] == "1000000s"
        assert found["healthcheck"]["interval"] == "2000000s"
        assert found["healthcheck"]["start_period"] == "1234567.5s"

    @pytest.mark.parametrize(
        ("host", "published"),
        [
            ("localhost", "127.0.0.1:8000:8000"),
            ("::1", "[::1]:8000:8000"),
            ("0.0.0.0", "0.0.0.0:8000:8000"),
            ("shop.example", "8000:8000"),
        ],
    )
    def test_gateway_is_published_at_an_address_and_a_port(
        self, host: str, published: str, tmp_path: Path
    ) -> None:
        text = HOSTED.replace("port = 8080", f'host = "{host}"\nport = 0')
        gateway = services(project(tmp_path, text), tmp_path)["gateway"]
        assert gateway["ports"] == [published]
        assert gateway["environment"]["CTL_GATEWAY__PORT"] == "8000"

    @pytest.mark.parametrize("value", ["1e3", "0o17", "12", "-1", ".5", "1_000", "12:30:00", "~"])
    def test_text_that_looks_like_a_number_is_quoted(self, value: str, tmp_path: Path) -> None:
        text = f'[components.x]\ncommand = ["a"]\nenv = {{ A = "{value}" }}\n'
        assert f'A: "{value}"\n' in compose.export(loaded(tmp_path, text), tmp_path)["compose.yaml"]

    def test_dockerfile_of_the_project_is_used(self, tmp_path: Path) -> None:
        assert "dockerfile_inline" in services(project(tmp_path, HOSTED), tmp_path)["critic"]["build"]
        (tmp_path / "Dockerfile").touch()
        assert services(project(tmp_path, HOSTED), tmp_path)["critic"]["build"] == "."
