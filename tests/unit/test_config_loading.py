"""What a configuration file means, and what overrides it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.errors import ConfigError
from contracts.specs import Mode
from control_plane.config import Loaded, load
from control_plane.config.layers import parse_value

TREE: dict[str, Any] = {
    "app": {"name": "novel", "mode": "multi"},
    "components": {
        "writer": {"use": "agents:Writer", "depends_on": ["fact-checker"], "config": {"tone": "noir"}},
        "fact-checker": {"use": "agents:FactChecker", "replicas": 2},
    },
    "profiles": {"minimal": {"components": ["writer"]}},
}
TOML = """
[app]
name = "novel"
mode = "multi"
[components.writer]
use = "agents:Writer"
depends_on = ["fact-checker"]
config = { tone = "noir" }
[components.fact-checker]
use = "agents:FactChecker"
replicas = 2
[profiles.minimal]
components = ["writer"]
"""
IN_PYPROJECT = (
    TOML.replace("[app]", "[tool.ctl.app]")
    .replace("[comp", "[tool.ctl.comp")
    .replace("[prof", "[tool.ctl.prof")
)


def load_text(
    folder: Path,
    text: str,
    *,
    name: str = "ctl.toml",
    environ: dict[str, str] | None = None,
    overrides: dict[str, Any] | None = None,
    dotenv: str = "",
) -> Loaded:
    (folder / name).write_text(text)
    (folder / ".env").write_text(dotenv)
    return load(environ=environ or {}, cwd=folder, overrides=overrides)


class TestFormats:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("ctl.yaml", yaml.safe_dump(TREE)),
            ("ctl.yml", yaml.safe_dump(TREE)),
            ("ctl.json", json.dumps(TREE)),
            ("pyproject.toml", IN_PYPROJECT),
        ],
    )
    def test_every_format_says_the_same_as_toml(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / "toml").mkdir()
        expected = load_text(tmp_path / "toml", TOML).settings
        assert load_text(tmp_path, text, name=name).settings == expected

    @pytest.mark.parametrize("name", ["ctl.toml", "ctl.yaml", "ctl.json"])
    def test_empty_file_is_a_gateway_alone(self, tmp_path: Path, name: str) -> None:
        settings = load_text(tmp_path, "", name=name).settings
        assert list(settings.components) == ["gateway"]

    def test_byte_order_mark_and_windows_line_ends_are_read(self, tmp_path: Path) -> None:
        (tmp_path / "ctl.toml").write_bytes(b"\xef\xbb\xbf[app]\r\nname = 'novel'\r\n")
        assert load(environ={}, cwd=tmp_path).settings.app.name == "novel"

    def test_project_is_the_folder_of_the_file(self, tmp_path: Path) -> None:
        loaded = load_text(tmp_path, TOML)
        assert (loaded.path, loaded.project) == (tmp_path / "ctl.toml", tmp_path)


class TestDefaults:
    def test_component_takes_its_name_and_prefix_from_its_table(self, tmp_path: Path) -> None:
        writer = load_text(tmp_path, TOML).settings.components["writer"]
        assert (writer.name, writer.prefix) == ("writer", "/agents/writer")

    def test_gateway_is_added_at_the_root(self, tmp_path: Path) -> None:
        gateway = load_text(tmp_path, TOML).settings.components["gateway"]
        assert (gateway.use, gateway.prefix) == ("components.gateway:Gateway", "/")

    def test_declared_gateway_may_leave_out_what_it_does_not_change(self, tmp_path: Path) -> None:
        gateway = load_text(tmp_path, "[components.gateway]\nreplicas = 2").settings.components["gateway"]
        assert (gateway.use, gateway.prefix, gateway.replicas) == ("components.gateway:Gateway", "/", 2)

    def test_slash_at_the_end_of_a_prefix_is_dropped(self, tmp_path: Path) -> None:
        text = '[components.writer]\nuse = "a:B"\nprefix = "/w/"'
        assert load_text(tmp_path, text).settings.components["writer"].prefix == "/w"


class TestAgents:
    LAUNCHER = """
[components.crew]
use = "novel:AgentLauncher"
agents = ["director", "FactChecker", "critic"]
ready = "is_running"
[components.critic]
aliases = ["crit"]
group = "readers"
"""

    def test_agents_of_a_launcher_are_a_component_each_in_their_order(self, tmp_path: Path) -> None:
        components = load_text(tmp_path, self.LAUNCHER).settings.components

        agents = {name: spec for name, spec in components.items() if name != "gateway"}
        assert {name: (spec.agent, spec.group, spec.prefix) for name, spec in agents.items()} == {
            "critic": ("critic", "readers", "/agents/critic"),
            "director": ("director", "crew", "/agents/director"),
            "factchecker": ("FactChecker", "crew", "/agents/factchecker"),
        }
        assert list(agents) == ["director", "factchecker", "critic"]
        assert {spec.ready for spec in agents.values()} == {"is_running"}
        assert components["critic"].aliases == ("crit",)

    def test_the_environment_may_say_something_of_one_agent(self, tmp_path: Path) -> None:
        environ = {"CTL_COMPONENTS__DIRECTOR__READY": "is_up"}
        components = load_text(tmp_path, self.LAUNCHER, environ=environ).settings.components

        assert (components["director"].ready, components["critic"].ready) == ("is_up", "is_running")

    def test_a_launcher_stands_for_its_agents_in_profiles_and_dependencies(self, tmp_path: Path) -> None:
        more = '[components.api]\nuse = "a:B"\ndepends_on = ["crew"]\n[profiles.all]\ncomponents = ["crew"]\n'
        settings = load_text(tmp_path, f"{self.LAUNCHER}{more}").settings

        assert settings.components["api"].depends_on == ("director", "factchecker", "critic")
        assert settings.profiles["all"].components == ("director", "factchecker", "critic")

    @pytest.mark.parametrize(
        ("text", "places"),
        [
            ('[components.director]\nuse = "a:B"', "components.crew.agents and by components.director"),
            (
                '[components.others]\nuse = "a:B"\nagents = ["Director"]',
                "components.crew.agents and by components.others.agents",
            ),
            (
                '[components.others]\nuse = "a:B"\nagents = ["gateway"]',
                "the gateway itself and by components.o",
            ),
        ],
    )
    def test_an_agent_that_is_declared_elsewhere_too_is_refused(
        self, tmp_path: Path, text: str, places: str
    ) -> None:
        with pytest.raises(ConfigError, match=f"component '.*' is declared by {places}"):
            load_text(tmp_path, f"{self.LAUNCHER}{text}\n")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('[components.odd]\nuse = "a:B"\nagent = "x"\nagents = ["y"]', "It has `agent` too"),
            ('[components.director]\nagents = ["y"]', "It has no `use`"),
        ],
    )
    def test_agents_are_named_in_a_launchers_table_alone(self, tmp_path: Path, text: str, why: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_text(tmp_path, f"{self.LAUNCHER}{text}\n")
        assert why in f"{caught.value} {caught.value.detail}"


class TestInterpolation:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("${TONE}", "noir"),
            ("a ${TONE} tale, ${TONE:-x}", "a noir tale, noir"),
            ("${ABSENT:-pale}", "pale"),
            ("${EMPTY:-pale}", "pale"),
            ("${EMPTY}", ""),
            ("${ABSENT:-}", ""),
            ("${ABSENT:-redis://h:1/0?a=b}", "redis://h:1/0?a=b"),
            ("$${TONE}", "${TONE}"),
            ("$TONE costs $5", "$TONE costs $5"),
        ],
    )
    def test_reference_becomes_its_value(self, tmp_path: Path, text: str, value: str) -> None:
        toml = f"[components.writer]\nuse = 'a:B'\nconfig = {{ nested = [{{ tone = '{text}' }}] }}"
        loaded = load_text(tmp_path, toml, environ={"TONE": "noir", "EMPTY": ""})
        assert loaded.settings.components["writer"].config == {"nested": [{"tone": value}]}

    def test_number_may_come_from_a_variable(self, tmp_path: Path) -> None:
        loaded = load_text(tmp_path, "[gateway]\nport = '${PORT:-8000}'", environ={"PORT": "9000"})
        assert loaded.settings.gateway.port == 9000

    def test_environment_beats_dotenv(self, tmp_path: Path) -> None:
        text = "[components.w]\nuse = 'a:B'\nconfig = { a = '${A}', b = '${B}' }"
        loaded = load_text(tmp_path, text, dotenv="A=file\nB=file\n", environ={"A": "environment"})
        assert loaded.settings.components["w"].config == {"a": "environment", "b": "file"}

    def test_value_of_an_override_is_taken_as_it_stands(self, tmp_path: Path) -> None:
        """And the reference it replaces need not be set."""
        text = "[components.w]\nuse = 'a:B'\nconfig = { key = '${ABSENT}' }"
        loaded = load_text(tmp_path, text, environ={"CTL_COMPONENTS__W__CONFIG__KEY": "a${b}"})
        assert loaded.settings.components["w"].config == {"key": "a${b}"}


class TestOverrides:
    def test_command_line_beats_environment_beats_dotenv_beats_file(self, tmp_path: Path) -> None:
        key, text = "CTL_GATEWAY__PORT", "[gateway]\nport = 1"
        assert load_text(tmp_path, text).settings.gateway.port == 1
        loaded = load_text(tmp_path, text, dotenv=f"{key}=2")
        assert (loaded.settings.gateway.port, loaded.sources) == (2, {"gateway.port": f".env {key}"})
        loaded = load_text(tmp_path, text, dotenv=f"{key}=2", environ={key: "3"})
        assert (loaded.settings.gateway.port, loaded.sources) == (3, {"gateway.port": f"environment {key}"})
        overrides = {"gateway.port": 4}
        loaded = load_text(tmp_path, text, environ={key: "3"}, overrides=overrides)
        assert (loaded.settings.gateway.port, loaded.sources) == (4, {"gateway.port": "command line"})

    def test_variable_reaches_into_a_component(self, tmp_path: Path) -> None:
        environ = {
            "CTL_COMPONENTS__WRITER__REPLICAS": "3",
            "CTL_COMPONENTS__WRITER__PRELOAD": "false",
            "CTL_COMPONENTS__WRITER__DEPENDS_ON": "[]",
            "CTL_COMPONENTS__WRITER__CONFIG__TONE": "grim",
            "CTL_COMPONENTS__WRITER__RESTART__BACKOFF_S": "1.5",
        }
        writer = load_text(tmp_path, TOML, environ=environ).settings.components["writer"]
        assert (writer.replicas, writer.preload, writer.depends_on) == (3, False, ())
        assert (writer.config, writer.restart.backoff_s) == ({"tone": "grim"}, 1.5)

    def test_underscore_in_a_variable_stands_for_a_dash_in_a_name(self, tmp_path: Path) -> None:
        environ = {"CTL_COMPONENTS__FACT_CHECKER__REPLICAS": "5"}
        assert load_text(tmp_path, TOML, environ=environ).settings.components["fact-checker"].replicas == 5

    def test_environment_of_a_component_stays_text_with_its_case(self, tmp_path: Path) -> None:
        environ = {"CTL_COMPONENTS__WRITER__ENV__Api_Port": "8080"}
        assert load_text(tmp_path, TOML, environ=environ).settings.components["writer"].env == {
            "Api_Port": "8080"
        }

    def test_undeclared_gateway_component_can_be_overridden(self, tmp_path: Path) -> None:
        loaded = load_text(tmp_path, TOML, environ={"CTL_COMPONENTS__GATEWAY__REPLICAS": "2"})
        assert loaded.settings.components["gateway"].replicas == 2

    def test_variables_that_are_no_settings_are_left_alone(self, tmp_path: Path) -> None:
        environ = {"CTL_HOME": "/x", "CTL_LAUNCHED_BY": "1", "CTL_START_METHOD": "spawn", "OTHER__KEY": "1"}
        assert load_text(tmp_path, TOML, environ=environ).sources == {}

    def test_mode_is_one_override_among_others(self, tmp_path: Path) -> None:
        assert load_text(tmp_path, TOML, overrides={"app.mode": "single"}).settings.app.mode is Mode.SINGLE

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("3", 3),
            ("0.5", 0.5),
            ("true", True),
            ('["a", "b"]', ["a", "b"]),
            ('"3"', "3"),
            ("redis://h:1", "redis://h:1"),
            ("multi", "multi"),
            ("", ""),
            ("2026-01-01", "2026-01-01"),
            ("1\nx = 2", "1\nx = 2"),
        ],
    )
    def test_variable_is_a_toml_value_or_else_text(self, text: str, value: Any) -> None:
        assert parse_value(text) == value


def test_variables_in_another_encoding_are_told_and_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "ctl.toml").write_text(TOML)
    (tmp_path / ".env").write_bytes("NAME=Zoë".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"E1002 cannot read .*\.env.*It is no UTF-8"):
        load(environ={}, cwd=tmp_path)
