"""`ctl config` and `ctl version`: what they print. The schema's golden file is rewritten with
`python -m tests.unit.test_config_command`."""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.specs import ComponentSpec, Settings
from control_plane.cli.verbs import config as config_verb
from control_plane.cli.verbs import version as version_verb
from control_plane.config import load, schema
from control_plane.config.interpolation import Interpolation
from control_plane.config.problems import redact
from control_plane.config.rendering import to_toml, to_tree

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "config" / "schema.json"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))  # surrogates have no place in UTF-8
TEXT = """
[app]
name = "novel"
[bus]
url = "redis://user:hunter2@host:6379/0"
[components.writer]
use = "a:Writer"
config = { tone = "$${noir}", api_key = "hunter2", retries = 3, tags = ["x", { "odd key" = true }] }
"""


def run(action: str, capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    parser = argparse.ArgumentParser()
    config_verb.configure(parser)
    args = parser.parse_args([action], argparse.Namespace(config=None, json=False, **options))
    assert config_verb.run(args) == 0
    return capsys.readouterr().out


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ctl.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestShow:
    def test_override_is_shown_with_its_source(
        self, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CTL_COMPONENTS__WRITER__REPLICAS", "3")
        monkeypatch.setenv("CTL_COMPONENTS__WRITER__HEALTH__TIMEOUT_S", "1")
        lines = run("show", capsys).splitlines()
        assert lines[0] == f"# {project / 'ctl.toml'}"
        assert "replicas = 3  # environment CTL_COMPONENTS__WRITER__REPLICAS" in lines
        assert any(
            line.startswith("health = ")
            and line.endswith("# environment CTL_COMPONENTS__WRITER__HEALTH__TIMEOUT_S")
            for line in lines
        )

    def test_passwords_are_not_shown(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for output in (run("show", capsys), json.dumps(to_tree(load(environ={}, cwd=project).settings))):
            assert "hunter2" not in output
            assert "redis://user:***@host:6379/0" in output

    def test_json_has_settings_and_sources(
        self, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CTL_GATEWAY__PORT", "1")
        parser = argparse.ArgumentParser()
        config_verb.configure(parser)
        config_verb.run(parser.parse_args(["show"], argparse.Namespace(config=None, json=True)))
        shown = json.loads(capsys.readouterr().out)
        assert shown["settings"]["gateway"]["port"] == 1
        assert shown["sources"] == {"gateway.port": "environment CTL_GATEWAY__PORT"}
        assert shown["path"] == str(project / "ctl.toml")

    def test_what_is_shown_can_be_loaded_again(self, tmp_path: Path) -> None:
        text = TEXT.replace(":hunter2@", "@").replace('api_key = "hunter2", ', "")
        (tmp_path / "ctl.toml").write_text(text)
        before = load(environ={}, cwd=tmp_path).settings
        (tmp_path / "ctl.toml").write_text(to_toml(before, {}))
        assert load(environ={}, cwd=tmp_path).settings == before

    @given(st.dictionaries(TEXTS, TEXTS))
    def test_any_text_survives_writing_and_reading(self, config: dict[str, str]) -> None:
        settings = Settings(components={"w": ComponentSpec(name="w", use="a:B", config=config)})
        written = tomllib.loads(to_toml(settings, {}))["components"]["w"]["config"]
        assert Interpolation({}, file_name="").fill(written) == to_tree(settings)["components"]["w"]["config"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:p@ss/w@host:1/0", "redis://user:***@host:1/0"),
        ("rediss://:secret@host", "rediss://:***@host"),
        ("redis://host?db=1&password=x&a=b", "redis://host?db=1&password=***&a=b"),
        ("redis://host:6379/0", "redis://host:6379/0"),
    ],
)
def test_url_is_shown_without_its_password(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_validate_says_what_is_there(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate", capsys) == f"{project / 'ctl.toml'} is valid: 2 components, mode single\n"


def test_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert version_verb.run(argparse.Namespace(config=None, json=True)) == 0
    assert json.loads(capsys.readouterr().out)["coplane"] == version("coplane")
    version_verb.run(argparse.Namespace(config=None, json=False))
    assert capsys.readouterr().out.startswith(f"coplane {version('coplane')} (Python ")


def options(node: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    """Return every option of the schema by its path; names of the user's are NAME."""
    of_names = path in ("components", "groups", "profiles")
    children = {"NAME": node["additionalProperties"]} if of_names else node.get("properties", {})
    found = {path: node} if path else {}
    for key, child in children.items():
        found |= options(child, f"{path}.{key}".removeprefix("."))
    return found


class TestSchema:
    def test_schema_is_the_golden_file(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert json.loads(run("schema", capsys)) == json.loads(GOLDEN.read_text())

    def test_every_option_is_described(self) -> None:
        undescribed = [path for path, node in options(schema()).items() if not node.get("description")]
        assert undescribed == []

    def test_every_option_is_in_the_documentation(self) -> None:
        page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
        documented = set(re.findall(r"^\| `(\w+\.[\w.]+)` \|", page, re.MULTILINE))
        leaves = {path for path, node in options(schema()).items() if "properties" not in node}
        assert documented == leaves - {"groups", "profiles"}


if __name__ == "__main__":
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
