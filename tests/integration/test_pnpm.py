"""The scripts of package.json under a real pnpm: they pass arguments and exit codes on.

The scripts run in a copy of the project's package.json, beside this environment's own `ctl`.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.wait import wait_until

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


class TestWorkspace:
    """The example of a repository whose people type `pnpm backend run`."""

    @pytest.fixture
    def workspace(self, tmp_path: Path) -> Path:
        shutil.copytree(PROJECT / "examples" / "pnpm_workspace", tmp_path / "novel")
        return tmp_path / "novel"

    @pytest.fixture
    def env(self, tmp_path: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CTL_")}
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        free = {"CTL_GATEWAY__PORT": "0", "CTL_CONTROL__PORT": "0"}
        return {**kept, **free, "PATH": beside, "CI": "1", "CTL_HOME": str(tmp_path / "home")}

    @pytest.mark.parametrize(
        ("typed", "components"),
        [
            (("backend", "run"), {"gateway", "director", "writer", "critic"}),
            (("backend:run",), {"gateway", "director", "writer", "critic"}),
            (("backend", "run:api"), {"gateway"}),
            (("backend", "run:agents", "--", "--only", "scribe,director"), {"gateway", "writer", "director"}),
            (("backend", "run:agents", "--agents", '["writer"]'), {"gateway", "writer"}),
            (("backend", "run:agents", "--", "--exclude", "critic"), {"gateway", "writer", "director"}),
            (("backend", "run:profiles", "minimal"), {"gateway", "writer"}),
        ],
    )
    def test_what_is_typed_chooses_what_it_always_chose(
        self, pnpm: str, workspace: Path, env: dict[str, str], typed: tuple[str, ...], components: set[str]
    ) -> None:
        done = subprocess.run(
            [pnpm, "--silent", *typed, "--dry-run", "--json"],
            cwd=workspace,
            env=env,
            capture_output=True,
            text=True,
            timeout=SCRIPT_TIMEOUT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert {name for level in json.loads(done.stdout)["start_order"] for name in level} == components

    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            (("run:agents", "--", "--only", "the writer"), "E1001 unknown component 'the writer'"),
            (("run:profiles", "minimla"), "Did you mean 'minimal'?"),
            (("fly",), "unknown: fly; usage: pnpm backend run"),
        ],
    )
    def test_what_nobody_knows_is_refused(
        self, pnpm: str, workspace: Path, env: dict[str, str], typed: tuple[str, ...], said: str
    ) -> None:
        done = subprocess.run(
            [pnpm, "--silent", "backend", *typed],
            cwd=workspace,
            env=env,
            capture_output=True,
            text=True,
            timeout=SCRIPT_TIMEOUT_S,
        )
        assert done.returncode == 2, done.stdout
        assert said in done.stderr

    def test_ctrl_c_through_pnpm_is_one_stop_in_order(
        self, pnpm: str, workspace: Path, env: dict[str, str]
    ) -> None:
        """The terminal signals its whole foreground group, pnpm and ctl alike."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(workspace)
            os.execvpe(pnpm, [pnpm, "backend", "run", "--mode", "multi"], env)
        said = b""
        try:
            os.set_blocking(terminal, False)

            def heard() -> bytes:
                nonlocal said
                with contextlib.suppress(BlockingIOError, OSError):
                    said += os.read(terminal, 65536)
                return said

            wait_until(lambda: b"is ready after" in heard(), 30)
            os.write(terminal, b"\x03")
            wait_until(lambda: heard() and os.waitpid(pid, os.WNOHANG)[0], 30)
        finally:
            os.close(terminal)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert said.count(b"stopping: SIGINT") == 1, said.decode(errors="replace")
        assert b"gateway-1 stopped" in said
        for agent in ("director", "writer", "critic"):
            log = (Path(env["CTL_HOME"]) / "logs" / f"{agent}-1.out.log").read_text()
            assert log.splitlines() == [f"{agent} is at work", f"{agent} has left"]
