"""Which file is the configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from control_plane.config.discovery import find_config


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_nearest_file_above_the_working_folder_is_found(tmp_path: Path) -> None:
    write(tmp_path / "ctl.toml")
    near = write(tmp_path / "a" / "ctl.json")
    (tmp_path / "a" / "b").mkdir()
    assert find_config(environ={}, cwd=tmp_path / "a" / "b") == near


def test_ctl_toml_comes_before_the_other_formats_of_its_folder(tmp_path: Path) -> None:
    for name in ("ctl.json", "ctl.yaml", "ctl.yml", "pyproject.toml"):
        write(tmp_path / name, "[tool.ctl]\n")
    first = write(tmp_path / "ctl.toml")
    assert find_config(environ={}, cwd=tmp_path) == first


def test_pyproject_counts_only_with_a_tool_table(tmp_path: Path) -> None:
    above = write(tmp_path / "ctl.toml")
    inner = write(tmp_path / "a" / "pyproject.toml", "[project]\nname = 'x'\n")
    assert find_config(environ={}, cwd=inner.parent) == above
    inner.write_text("[tool.ctl.app]\nname = 'x'\n")
    assert find_config(environ={}, cwd=inner.parent) == inner


def test_broken_pyproject_counts_when_it_names_the_tool_table(tmp_path: Path) -> None:
    """It is found, so that its syntax error is shown instead of a file further up being used."""
    path = write(tmp_path / "pyproject.toml", "[tool.ctl.app]\nname = \n")
    assert find_config(environ={}, cwd=tmp_path) == path


def test_named_file_beats_the_variable_and_the_variable_beats_the_search(tmp_path: Path) -> None:
    write(tmp_path / "ctl.toml")
    one, two = write(tmp_path / "one.toml"), write(tmp_path / "two.toml")
    environ = {"CTL_CONFIG": "two.toml"}
    assert find_config("one.toml", environ=environ, cwd=tmp_path) == one
    assert find_config(environ=environ, cwd=tmp_path) == two


def test_no_file_says_where_was_searched_and_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(environ={}, cwd=tmp_path)
    assert caught.value.code == "E1006"
    assert str(tmp_path) in caught.value.why
    assert "ctl.yaml" in caught.value.why
    assert "Create a ctl.toml" in caught.value.fix


@pytest.mark.parametrize(("name", "reason"), [("absent.toml", "not there"), (".", "a folder")])
def test_named_file_that_is_none_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(name, environ={}, cwd=tmp_path)
    assert caught.value.code == "E1006"
    assert reason in caught.value.why


def test_finding_the_file_loads_no_heavy_module() -> None:
    code = "import sys, control_plane.config.discovery; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert {"pydantic", "fastapi", "dotenv", "yaml"}.isdisjoint(done.stdout.split())
