"""`ctl import compose`: what its services become."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ConfigError
from contracts.specs import ComponentSpec
from control_plane.conversion.images import base_name
from tests.support.conversion import ENVIRON, comment, components, imported, imported_text, loaded, shop


def one(folder: Path, **service: Any) -> ComponentSpec:
    text = yaml.safe_dump({"services": {"x": {"command": "run", **service}}})
    _, result = imported_text("compose", folder, text, name="compose.yaml")
    return components(result)["x"]


class TestYaml:
    def test_plain_text_is_read_as_compose_does(self, tmp_path: Path) -> None:
        text = (
            "services:\n  x:\n    command: run\n    tty: yes\n    ports: [8000:22]\n    restart: no\n"
            "    environment:\n      DEBUG: on\n      COUNTRY: NO\n      START: 12:30:00\n"
            "      DAY: 2024-01-02\n      OCTAL: 0123\n      MODE: 0o17\n      BIG: 1_000\n"
            "      BOTH: true\n      HALF: 0.5\n"
        )
        _, result = imported_text("compose", tmp_path, text, name="compose.yaml")
        found = components(result)["x"]
        assert (found.port, found.pty, found.restart.policy) == (22, True, "never")
        assert found.env == {
            "DEBUG": "on", "COUNTRY": "NO", "START": "12:30:00", "DAY": "2024-01-02", "OCTAL": "0123",
            "MODE": "15", "BIG": "1_000", "BOTH": "true", "HALF": "0.5",
        }  # fmt: skip

    def test_tags_that_are_compose_s_own_are_passed_over(self, tmp_path: Path) -> None:
        text = (
            "x-env: &env {A: 1}\nservices:\n  x:\n    command: !override [run, !x 1]\n"
            "    environment: !override\n      <<: *env\n      B: !reset null\n      C: !x 'null'\n"
        )
        _, result = imported_text("compose", tmp_path, text, name="compose.yaml")
        found = components(result)["x"]
        assert found.command == ("run", "1")
        assert found.env == {"A": "1", "B": "", "C": "null"}


class TestExample:
    def test_services_with_a_command_become_components(self, tmp_path: Path) -> None:
        _, result = imported("compose", shop(tmp_path) / "compose.yaml")
        assert list(components(result)) == ["web", "worker", "migrate", "debug", "api", "api2"]

    def test_options_that_have_a_place_are_carried_over(self, tmp_path: Path) -> None:
        source = shop(tmp_path)
        _, result = imported("compose", source / "compose.yaml")
        web, worker = components(result)["web"], components(result)["worker"]
        assert web.command == (
            "uvicorn",
            "app.main:app",
            "--host",
            "0.0.0.0",
            "--port",
            "7000",
        )  # .env says so
        assert (web.port, web.cwd, web.depends_on) == (7000, str(source / "web"), ("worker",))
        assert (web.grace_period_s, web.startup_timeout_s) == (90, 40 + 3 * 90)
        assert web.health.exec == ("sh", "-c", "curl -f http://localhost:${PORT} || exit 1")
        assert (web.health.interval_s, web.health.timeout_s) == (90, 10)
        assert (worker.replicas, worker.limits.memory_mb, worker.pty) == (2, 512, True)
        assert (worker.stop_signal, worker.restart.policy) == ("SIGINT", "always")
        assert worker.env_file == str(source / ".env")
        assert components(result)["migrate"].restart.policy == "never"

    def test_variables_are_filled_when_the_configuration_is_loaded(self, tmp_path: Path) -> None:
        source = shop(tmp_path)
        converted, result = imported("compose", source / "compose.yaml")
        assert components(result)["web"].env["DATABASE_URL"] == "postgres://app:hunter2@db:5432/app"
        later = loaded(source, converted.text, {**ENVIRON, "PORT": "9000"})
        assert later.settings.components["web"].port == 9000
        assert later.settings.components["web"].command[-1] == "9000"

    def test_gateway_makes_way_for_a_port_that_a_variable_has_by_default(self, tmp_path: Path) -> None:
        _, result = imported("compose", shop(tmp_path) / "compose.yaml")
        assert result.settings.gateway.port == 8001

    def test_profiles_have_what_starts_without_one_too(self, tmp_path: Path) -> None:
        _, result = imported("compose", shop(tmp_path) / "compose.yaml")
        everywhere = ("web", "worker", "migrate", "api", "api2")
        assert result.settings.profiles["debug"].components == (*everywhere, "debug")
        assert result.settings.profiles["default"].components == everywhere

    @pytest.mark.parametrize(
        "said",
        [
            "not carried over: service 'front' (its command is in its image or Dockerfile",
            "not carried over: service 'db' (it is a postgres server",
            "not carried over: service 'cache' (it is a redis server. Where the components are to use it: "
            '[bus] url = "redis://127.0.0.1:6380/0"',
            "not carried over: depends_on db (it is no component here",
            "not carried over: depends_on migrate, service_completed_successfully",
            "not carried over: env_file .env.local",
            "not carried over: working_dir = /app",
            "not carried over: networks, volumes (programs run on this machine",
            "not carried over: the rest of ${A:-${B:-c}}",
            "Names the service cache, db as a machine",
            "'api' has port 8000 too, which only containers can",
        ],
    )  # fmt: skip
    def test_what_has_no_place_is_told(self, said: str, tmp_path: Path) -> None:
        converted, _ = imported("compose", shop(tmp_path) / "compose.yaml")
        assert said in comment(converted.text)


class TestOptions:
    @pytest.mark.parametrize(
        ("ports", "port"),
        [(["80"], 80), ([8080], 8080), (["1:81"], 81), (["127.0.0.1:1:82/tcp"], 82), (["3000-3005"], 3000),
         ([{"target": 83, "published": "1"}], 83), (["${P:-84}:${P:-84}"], 84)],
    )  # fmt: skip
    def test_port_is_the_one_inside(self, ports: list[Any], port: int, tmp_path: Path) -> None:
        assert one(tmp_path, ports=ports).port == port

    @pytest.mark.parametrize(
        ("value", "policy", "most"),
        [
            ("no", "never", 5),
            (False, "never", 5),
            ("unless-stopped", "always", 5),
            ("on-failure:3", "on-failure", 3),
        ],
    )
    def test_restart(self, value: Any, policy: str, most: int, tmp_path: Path) -> None:
        restart = one(tmp_path, restart=value).restart
        assert (restart.policy, restart.max_restarts) == (policy, most)

    def test_environment_as_a_list_or_a_table(self, tmp_path: Path) -> None:
        assert one(tmp_path, environment=["A=b=c", "B=", "C"]).env == {"A": "b=c", "B": "", "C": ""}
        assert one(tmp_path, environment={"A": 1, "B": True, "C": None}).env == {
            "A": "1", "B": "true", "C": "",
        }  # fmt: skip

    def test_option_that_cannot_be_a_variable_here_has_its_default(self, tmp_path: Path) -> None:
        spec = one(tmp_path, restart="${R:-always}", scale="${N:-3}", stop_grace_period="${G:-2s}")
        assert (spec.restart.policy, spec.replicas, spec.grace_period_s) == ("always", 3, 2)
        assert (
            "not carried over: ${N:-3} (it cannot be a variable here" in (tmp_path / "ctl.toml").read_text()
        )

    def test_entrypoint_comes_before_the_command(self, tmp_path: Path) -> None:
        assert one(tmp_path, entrypoint=["tini", "--"], command="a 'b c'").command == (
            "tini",
            "--",
            "a",
            "b c",
        )

    @pytest.mark.parametrize(
        ("image", "name"),
        [
            ("postgres:16", "postgres"),
            ("ghcr.io/x/Redis@sha256:1", "redis"),
            ("h:5000/y/z", "z"),
            ("${I:-redis:7}", "redis"),
        ],
    )
    def test_image_is_known_by_the_last_part_of_its_name(self, image: str, name: str) -> None:
        assert base_name(image) == name


class TestMalformed:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("services: [", "E1002 c.yaml is not valid YAML. Line 1"),
            ("services:\n  a: {command: x}\n  b: {]\n", "E1002 c.yaml is not valid YAML. Line 3"),
            ("version: '3'\n", "nothing to run"),
            ("services: [a]\n", "services is a list"),
            ("services: {a: run}\n", "services.a is 'run'. Expected a table"),
            ("services: {a: {image: redis}}\n", "nothing to run"),
            ("services: {a: {command: 'x \"y'}}\n", "services.a.command. The command has a quotation"),
            (
                "services: {a: {command: x, depends_on: [b]}}\n",
                "depends_on is 'b'. Expected one of the services: a",
            ),
            ("services: {a: {command: x, ports: [http]}}\n", "ports is 'http'"),
            ("services: {a: {command: x, restart: often}}\n", "restart is 'often'"),
            ("services: {a: {command: x, stop_grace_period: soon}}\n", "Expected a duration such as 1m30s"),
            ("services: {a: {command: x, mem_limit: lots}}\n", "mem_limit is 'lots'"),
            ("services: {a: {command: x, deploy: {replicas: many}}}\n", "replicas is 'many'"),
            ("services: {a: {command: 'echo 5$'}}\n", r"services.a. '\$' is no variable"),
            ("services: {a: {command: x, healthcheck: {test: [A, B]}}}\n", "a list that begins with CMD"),
            (
                "services: {a: {command: x, depends_on: [b]}, b: {command: x, depends_on: [a]}}\n",
                "E1004 dependency cycle: a -> b -> a",
            ),
        ],
    )
    def test_message_says_where_and_what(self, text: str, said: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=said):
            imported_text("compose", tmp_path, text, name="c.yaml")

    def test_without_pyyaml_the_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r"E1006 .*PyYAML is not installed. Run `pip install"):
            imported("compose", shop(tmp_path) / "compose.yaml")
