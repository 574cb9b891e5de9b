"""`ctl import pm2`: what its apps become."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError
from contracts.specs import ComponentSpec
from control_plane.conversion.javascript import evaluate
from tests.support.conversion import comment, components, imported, imported_text, shop

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def one(folder: Path, **app: Any) -> ComponentSpec:
    text = json.dumps({"apps": [{"name": "x", **app}]})
    _, result = imported_text("pm2", folder, text, name="pm2.json")
    (spec,) = components(result).values()
    return spec


def is_running(pid: int) -> bool:
    """Tell whether a process still does something: one that nobody reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_node
class TestJavaScriptExample:
    def test_apps_become_components(self, tmp_path: Path) -> None:
        source = shop(tmp_path)
        _, result = imported("pm2", source / "ecosystem.config.cjs")
        found = components(result)
        assert list(found) == ["api", "worker", "next", "next-2", "serve"]
        assert found["worker"].command == (
            "./venv/bin/python", "worker.py", "--queue", "high", "--name", "a b",
        )  # fmt: skip
        assert (found["worker"].cwd, found["worker"].replicas) == (str(source / "jobs"), 3)
        assert found["serve"].command == ("sh", "-c", "exec node_modules/.bin/serve -l $PORT")

    def test_milliseconds_become_seconds_and_sizes_mebibytes(self, tmp_path: Path) -> None:
        _, result = imported("pm2", shop(tmp_path) / "ecosystem.config.cjs")
        api, worker = components(result)["api"], components(result)["worker"]
        assert (api.grace_period_s, api.startup_timeout_s, api.limits.memory_mb) == (5, 10, 300)
        assert (worker.restart.backoff_s, worker.restart.max_restarts) == (4, 10)

    def test_pm2_stops_by_sigint_and_starts_again_whatever_happened(self, tmp_path: Path) -> None:
        _, result = imported("pm2", shop(tmp_path) / "ecosystem.config.cjs")
        for spec in components(result).values():
            assert (spec.stop_signal, spec.restart.policy) == ("SIGINT", "always")

    def test_counted_variable_gives_each_instance_its_own(self, tmp_path: Path) -> None:
        _, result = imported("pm2", shop(tmp_path) / "ecosystem.config.cjs")
        found = components(result)
        assert [found[name].port for name in ("next", "next-2")] == [4000, 4001]
        assert [found[name].env["PORT"] for name in ("next", "next-2")] == ["4000", "4001"]

    def test_what_has_no_place_is_told_without_secrets(self, tmp_path: Path) -> None:
        converted, _ = imported("pm2", shop(tmp_path) / "ecosystem.config.cjs")
        text = comment(converted.text)
        for said in ("instances = max", "watch (", "wait_ready", "cron_restart = 0 3 * * *", "deploy (",
                     "env_production, 1 variable ("):  # fmt: skip
            assert f"not carried over: {said}" in text
        assert "production" not in text.replace("env_production", "")

    @pytest.mark.parametrize(
        ("script", "said"),
        [
            ("throw new Error('no database')", "Evaluating it failed: Error: no database"),
            ("module.exports = {", "SyntaxError"),
            ("module.exports = { apps: 3 }", "apps is 3. Expected a list of apps"),
            ("module.exports = undefined", "cannot import x.cjs"),
        ],
    )
    def test_script_that_fails_is_refused(self, script: str, said: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=said):
            imported_text("pm2", tmp_path, script, name="x.cjs")

    def test_script_that_never_ends_is_given_up(self, tmp_path: Path) -> None:
        (tmp_path / "x.cjs").write_text("while (true) {}")
        with pytest.raises(ConfigError, match=r"did not end within 0.5 s"):
            evaluate(tmp_path / "x.cjs", deadline_s=0.5)

    def test_what_a_script_starts_ends_with_it_when_that_is_given_up(self, tmp_path: Path) -> None:
        (tmp_path / "x.cjs").write_text(
            'const child = require("child_process").spawn("sleep", ["60"], {stdio: "inherit"});\n'
            'require("fs").writeFileSync("pid", String(child.pid)); while (true) {}'
        )
        with pytest.raises(ConfigError, match="did not end"):
            evaluate(tmp_path / "x.cjs", deadline_s=0.5)
        pid = int((tmp_path / "pid").read_text())
        deadline = time.monotonic() + 5
        while is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not is_running(pid)

    def test_child_that_inherits_the_output_is_not_waited_for(self, tmp_path: Path) -> None:
        (tmp_path / "x.cjs").write_text(
            'const child = require("child_process").spawn("sleep", ["60"], {stdio: "inherit"});\n'
            "module.exports = {pid: child.pid}"
        )
        pid = evaluate(tmp_path / "x.cjs", deadline_s=10)["pid"]
        os.kill(pid, signal.SIGKILL)

    @pytest.mark.parametrize("value", ["() => 1", "Symbol()"])
    def test_value_that_is_none_in_json_is_refused(self, value: str, tmp_path: Path) -> None:
        (tmp_path / "x.cjs").write_text(f"module.exports = {value}")
        with pytest.raises(ConfigError, match=r"E1002 .*exports nothing that could be written as JSON"):
            evaluate(tmp_path / "x.cjs")


class TestJsonExample:
    def test_literal_braces_and_values_that_are_no_text(self, tmp_path: Path) -> None:
        _, result = imported("pm2", shop(tmp_path) / "ecosystem.config.json")
        mailer = components(result)["mailer"]
        assert mailer.command == ("mailer.sh", "--from", "${NAME} <a@b>")
        assert mailer.env == {"RETRIES": "3", "VERBOSE": "true"}
        assert mailer.restart.policy == "never"

    def test_instances_that_shared_a_port_become_one(self, tmp_path: Path) -> None:
        converted, result = imported("pm2", shop(tmp_path) / "ecosystem.config.json")
        assert components(result)["cluster"].replicas == 1
        assert "not carried over: instances = 4 in cluster mode" in comment(converted.text)

    def test_without_node_javascript_is_refused_with_a_way_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(ConfigError, match=r"E1006 .*no `node` on the PATH.*JSON.stringify"):
            imported("pm2", shop(tmp_path) / "ecosystem.config.cjs")


class TestCommand:
    @pytest.mark.parametrize(
        ("app", "words"),
        [
            ({"script": "a.js"}, ("node", "a.js")),
            ({"script": "a.py", "args": ["b c"]}, ("python3", "a.py", "b c")),
            ({"script": "npm", "args": "run start"}, ("npm", "run", "start")),
            ({"script": "a.js", "node_args": "--inspect -r x"}, ("node", "--inspect", "-r", "x", "a.js")),
            ({"script": "a.py", "interpreter": "none"}, ("a.py",)),
            ({"script": "npm start"}, ("npm", "start")),
        ],
    )
    def test_interpreter_is_the_one_that_pm2_takes(
        self, app: dict[str, Any], words: tuple[str, ...], tmp_path: Path
    ) -> None:
        assert one(tmp_path, **app).command == words

    def test_program_beside_the_file_is_not_looked_for_on_the_path(self, tmp_path: Path) -> None:
        (tmp_path / "serve").write_bytes(b"\x7fELF\0")
        assert one(tmp_path, script="serve").command == ("./serve",)

    @pytest.mark.parametrize(
        ("content", "command"),
        [(b"#!/usr/bin/env node\n", ("node", "--x", "bin/www")), (b"\x7fELF\0", ("bin/www",))],
    )
    def test_script_without_a_known_ending_is_run_by_node_if_it_is_text(
        self, content: bytes, command: tuple[str, ...], tmp_path: Path
    ) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "www").write_bytes(content)
        assert one(tmp_path, script="bin/www", node_args="--x").command == command

    @pytest.mark.parametrize(
        "app", [{"script": "serve"}, {"script": "serve -l 1"}, {"script": "a.js", "interpreter": "none"}]
    )
    def test_options_for_no_interpreter_are_told(self, app: dict[str, str], tmp_path: Path) -> None:
        text = json.dumps({"apps": [{**app, "node_args": "--inspect"}]})
        converted, _ = imported_text("pm2", tmp_path, text, name="pm2.json")
        assert "not carried over: node_args (there is no interpreter" in comment(converted.text)

    @pytest.mark.parametrize(
        ("app", "said"),
        [
            ({}, r"apps\[0\]. It has no `script`"),
            ({"script": " "}, r"apps\[0\]. It has no `script`"),
            ({"script": ["a"]}, r"apps\[0\].script is a list. Expected text"),
            ({"script": "a", "instances": "many"}, "instances is 'many'. Expected 1 to 256"),
            ({"script": "a", "kill_timeout": "soon"}, "kill_timeout is 'soon'"),
            ({"script": "a", "max_memory_restart": "lots"}, "max_memory_restart is 'lots'"),
            ({"script": "a", "env": "A=b"}, "env is 'A=b'. Expected a table"),
            ({"script": "a", "args": "'x"}, r"apps\[0\]. The command has a quotation"),
            ({"script": "a", "max_restarts": True}, "max_restarts is true"),
        ],
    )
    def test_wrong_value_is_named_with_its_place(
        self, app: dict[str, Any], said: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError, match=said):
            one(tmp_path, **app)

    def test_json_that_is_none_is_shown_with_its_line(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"E1002 p\.json is not valid JSON\. Line 2"):
            imported_text("pm2", tmp_path, '{"apps":\n [}', name="p.json")
