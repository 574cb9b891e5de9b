"""The scripts of package.json under a real pnpm: they pass arguments and exit codes on.

The scripts run in a copy of the project's package.json, beside this environment's own `ctl`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
INSTALL_TIMEOUT_S = 60
SCRIPT_TIMEOUT_S = 30

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pnpm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an installed pnpm, else one that npm fetches into a folder of the test's own."""
    if installed := shutil.which("pnpm"):
        return installed
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("neither pnpm nor npm is installed")
    folder = tmp_path_factory.mktemp("pnpm")
    command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), "pnpm"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_TIMEOUT_S, cwd=folder)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as exc:
        pytest.skip(f"npm cannot fetch pnpm here: {exc}")
    return str(folder / "node_modules" / ".bin" / "pnpm")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project folder in which nothing runs."""
    shutil.copy(PROJECT / "package.json", tmp_path)
    shutil.copy(PROJECT / "ctl.toml", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "ctl").symlink_to(Path(sys.executable).with_name("ctl"))
    return tmp_path


def run(pnpm: str, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CTL_")}
    return subprocess.run(
        [pnpm, *arguments],
        cwd=project,
        env={**environment, "CI": "1"},
        capture_output=True,
        text=True,
        timeout=SCRIPT_TIMEOUT_S,
    )


@pytest.mark.parametrize("script", ["status", "stop"])
def test_where_nothing_runs_the_exit_code_says_so(pnpm: str, project: Path, script: str) -> None:
    result = run(pnpm, project, "run", script)
    assert result.returncode == 4, result.stderr
    assert "E3001" in result.stdout + result.stderr


def test_arguments_reach_the_command(pnpm: str, project: Path) -> None:
    result = run(pnpm, project, "--silent", "run", "start:multi", "--only", "nobody there")
    assert result.returncode == 2, result.stderr
    assert "E1001 unknown component 'nobody there'" in result.stderr


def test_help_is_that_of_the_command(pnpm: str, project: Path) -> None:
    through_pnpm = run(pnpm, project, "--silent", "run", "status", "--help")
    direct = subprocess.run(
        [project / ".venv/bin/ctl", "status", "--help"],
        capture_output=True,
        text=True,
        timeout=SCRIPT_TIMEOUT_S,
    )
    assert (through_pnpm.returncode, through_pnpm.stdout) == (0, direct.stdout)


def test_running_a_script_leaves_nothing_in_the_project(pnpm: str, project: Path) -> None:
    before = sorted(path.name for path in project.iterdir())
    run(pnpm, project, "run", "status")
    assert sorted(path.name for path in project.iterdir()) == before


def test_scripts_only_call_ctl_and_make() -> None:
    scripts = json.loads((PROJECT / "package.json").read_text())["scripts"]
    assert sorted(scripts) == ["bench", "logs", "start", "start:multi", "status", "stop", "test"]
    assert all(script.startswith((".venv/bin/ctl ", "make ")) for script in scripts.values())
