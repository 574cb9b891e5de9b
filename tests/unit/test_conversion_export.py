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
LINES = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f\x85"))


def project(folder: Path, text: str) -> Loaded:
    (folder / "jobs").mkdir(exist_ok=True)
    (folder / "jobs" / ".env").touch()
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
            assert (again.command, again.cwd, again.env) == (spec.command, spec.cwd, spec.env)

    @given(st.lists(LINES, min_size=1, max_size=3))
    def test_shell_gives_a_program_the_words_it_had(self, words: list[str]) -> None:
        from contracts.specs import ComponentSpec
        from control_plane.conversion.exporting.plan import Process

        command = ("printf", "[%s]", *words)
        spec = ComponentSpec(name="x", command=command, env={"A": "b 'c'"})
        line = procfile._line(Process("x", spec, command), Path("/"), Path("/"))
        said = subprocess.run(["sh", "-c", line], capture_output=True, check=True, cwd="/").stdout
        assert said.decode() == "".join(f"[{word}]" for word in words)

    def test_each_copy_has_a_line_and_where_it_needs_one_a_port(self, tmp_path: Path) -> None:
        found = lines_of(procfile.export(project(tmp_path, PROGRAMS), tmp_path)["Procfile"])
        assert list(found) == ["web", "web-2", "worker", "worker-2"]
        assert "PORT=5000 python serve.py --port 5000" in found["web"]
        assert "PORT=5001 python serve.py --port 5001" in found["web-2"]
        assert found["worker"] == (
            "set -a && . jobs/.env && set +a && cd jobs && exec env QUEUE='high '\"'\"'prio'\"'\"'' "
            "sh -c 'exec work --queue $QUEUE'"
        )

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
            f"WorkingDirectory={tmp_path}/jobs", f"EnvironmentFile={tmp_path}/jobs/.env", "Restart=always",
            "KillSignal=SIGINT", "TimeoutStopSec=1ms", "MemoryMax=256M", "StartLimitIntervalSec=30",
            "StartLimitBurst=4",
        ):  # fmt: skip
            assert line in worker

    def test_variable_of_the_table_comes_before_the_file(self, tmp_path: Path) -> None:
        units = systemd.export(project(tmp_path, PROGRAMS), tmp_path)
        start = re.search(r"ExecStart=(.*)", units["app-worker@.service"])
        assert start
        assert start[1].startswith("/usr/bin/env \"QUEUE=high 'prio'\" ")
        assert start[1].endswith('sh -c "exec work --queue $$QUEUE"')

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


class TestCompose:
    def test_program_is_a_service_with_its_supervision(self, tmp_path: Path) -> None:
        found = services(project(tmp_path, PROGRAMS), tmp_path)
        worker = found["worker"]
        assert worker["command"] == ["sh", "-c", "exec work --queue $$QUEUE"]
        assert (worker["working_dir"], worker["env_file"]) == ("/app/jobs", ["jobs/.env"])
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
        assert (again.command, again.env, again.env_file) == (worker.command, worker.env, worker.env_file)
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

    def test_dockerfile_of_the_project_is_used(self, tmp_path: Path) -> None:
        assert "dockerfile_inline" in services(project(tmp_path, HOSTED), tmp_path)["critic"]["build"]
        (tmp_path / "Dockerfile").touch()
        assert services(project(tmp_path, HOSTED), tmp_path)["critic"]["build"] == "."
