"""Bad input gives a clear error with its own code, and leaves nothing behind."""

from __future__ import annotations

import os
import socket
import textwrap
from pathlib import Path

import pytest

from tests.support.backend import Backend, backend
from tests.support.redis_servers import running_server

GOOD = """
[app]
name = "t"
[components.good]
use = "tests.support.samples:Good"
"""


def launched(
    folder: Path, text: str, *args: str, env: dict[str, str] | None = None, mode: str = "multi"
) -> tuple[int, str]:
    """Launch a configuration that is expected to fail, and prove that nothing is left."""
    config = folder / "ctl.toml"
    config.write_text(textwrap.dedent(text))
    with backend(config, env={"PYTHONPATH": os.getcwd(), **(env or {})}) as made:
        done = made.ctl("launch", "--mode", mode, *args, timeout_s=60)
        made.assert_nothing_left()
        return done.returncode, done.stdout + done.stderr


def component(name: str, use: str, more: str = "") -> str:
    return f'{GOOD}\n[components.{name}]\nuse = "{use}"\n{more}\n'


BROKEN_DECLARATIONS = {
    "module not found": ("nowhere.to_be_found:Thing", "E2002", "nowhere"),
    "attribute missing": ("tests.support.samples:Goood", "E2003", "Did you mean 'Good'"),
    "no component": ("tests.support.samples:NUMBER", "E2005", "is nothing that can be"),
    "factory of no component": (
        "tests.support.samples:makes_a_number",
        "E2005",
        "is nothing that can be",
    ),
}


@pytest.mark.parametrize("mode", ["single", "multi"])
@pytest.mark.parametrize("name", BROKEN_DECLARATIONS)
def test_a_declaration_that_cannot_work_fails_the_launch(tmp_path: Path, name: str, mode: str) -> None:
    use, code, hint = BROKEN_DECLARATIONS[name]

    exit_code, output = launched(tmp_path, component("bad", use), mode=mode)

    assert exit_code == 1, output
    assert code in output
    assert hint in output
    assert "Traceback" not in output


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_a_module_that_raises_on_import_shows_the_users_traceback_alone(tmp_path: Path, mode: str) -> None:
    (tmp_path / "broken.py").write_text("def helper():\n    return 1 / 0\n\nhelper()\n")

    exit_code, output = launched(tmp_path, component("bad", "broken:Thing"), mode=mode)

    assert exit_code == 1, output
    assert "E2004" in output
    assert "ZeroDivisionError" in output
    assert "broken.py" in output
    assert "control_plane" not in output
    assert "importlib" not in output


def test_a_configuration_that_its_component_refuses_names_the_field(tmp_path: Path) -> None:
    text = component("bad", "tests.support.samples:Good", "config = { greeting = 3 }")

    exit_code, output = launched(tmp_path, text)

    assert exit_code == 1, output
    assert "E5001" in output
    assert "components.bad.config.greeting" in output


def test_a_component_that_never_gets_ready_is_named_with_its_last_health_answer(tmp_path: Path) -> None:
    exit_code, output = launched(
        tmp_path, component("bad", "tests.support.samples:NeverHealthy"), "--timeout", "3"
    )

    assert exit_code == 3, output
    assert "E2008" in output
    assert "bad-1" in output
    assert "warming up" in output
    assert "bad-1.log" in output


def test_an_essential_component_that_fails_fails_the_launch(tmp_path: Path) -> None:
    more = "essential = true\nrestart = { max_restarts = 0 }"

    exit_code, output = launched(tmp_path, component("bad", "tests.support.samples:RaisesInStartup", more))

    assert exit_code == 1, output
    assert "E2009" in output
    assert "the database is away" in output


def test_any_other_component_that_fails_leaves_the_rest_running(tmp_path: Path) -> None:
    config = tmp_path / "ctl.toml"
    config.write_text(
        component(
            "bad", "tests.support.samples:RaisesInStartup", "restart = { max_restarts = 1, backoff_s = 0.1 }"
        )
    )
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        done = made.ctl("launch", "--detach", "--mode", "multi")
        status = made.status()

        assert done.returncode == 1, done.stderr
        assert "t is up without bad" in done.stdout
        assert "the database is away" in done.stderr
        assert status is not None
        states = {c["name"]: c["state"] for c in status["components"]}
        assert (states["good"], states["bad"], status["ready"]) == ("ready", "failed", False)
        assert made.ctl("stop").returncode == 0
        made.assert_nothing_left()


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_a_port_that_is_taken_is_said_with_its_holder(tmp_path: Path, mode: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        exit_code, output = launched(tmp_path, GOOD, env={"CTL_GATEWAY__PORT": str(port)}, mode=mode)

    assert exit_code == 1, output
    assert "E2001" in output
    assert str(os.getpid()) in output


def test_a_bus_that_nobody_answers_is_said_with_its_address(tmp_path: Path) -> None:
    exit_code, output = launched(tmp_path, GOOD, env={"CTL_BUS__URL": f"unix://{tmp_path}/no.sock"})

    assert exit_code == 1, output
    assert "E4001" in output
    assert "no.sock" in output


def test_a_wrong_bus_password_is_said_and_never_shown(tmp_path: Path) -> None:
    import redis

    with running_server("valkey", tmp_path) as running:
        redis.Redis.from_url(running.url).config_set("requirepass", "right")
        url = running.url.replace("unix://", "unix://:wrong-secret@")

        exit_code, output = launched(tmp_path, GOOD, env={"CTL_BUS__URL": url})

    assert exit_code == 1, output
    assert "E4002" in output
    assert "wrong-secret" not in output


def test_a_second_launch_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "ctl.toml"
    config.write_text(GOOD)
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.start("--mode", "single").until_ready()
        assert made.launch is not None

        second = made.ctl("launch")

        assert second.returncode == 1
        assert "E2006" in second.stderr
        assert str(made.launch.pid) in second.stderr
        assert made.status() is not None
        assert made.interrupt() == 0
        made.assert_nothing_left()


def test_what_a_killed_launch_left_is_cleaned_and_not_refused(tmp_path: Path) -> None:
    config = tmp_path / "ctl.toml"
    config.write_text(GOOD)
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.start("--mode", "single").until_ready()
        kill_all(made)
        assert any(made.home.rglob("*.sock"))

        made.start("--mode", "multi").until_ready()

        assert made.interrupt() == 0, made.output
        made.assert_nothing_left()


def kill_all(made: Backend) -> None:
    """End every process of the backend as a power cut would."""
    for process in made.processes():
        process.kill()
    assert made.launch is not None
    made.launch.wait(10)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_runtime_folder_without_permission_is_said(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)

    exit_code, output = launched(tmp_path, GOOD, env={"CTL_HOME": str(tmp_path / "closed" / "ctl")})

    assert exit_code == 1, output
    assert "E2007" in output


def test_a_runtime_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")

    exit_code, output = launched(tmp_path, GOOD, env={"CTL_HOME": str(tmp_path / "file")})

    assert exit_code == 1, output
    assert "E2007" in output


BAD_CONFIGURATIONS = {
    "syntax": ("[app\nname = 3", "E1002", "Line 1, column 5"),
    "wrong type": ('[components.a]\nuse = "m:A"\nreplicas = "many"', "E1003", "components.a.replicas"),
    "unknown dependency": (
        '[components.writer]\nuse = "m:A"\n[components.b]\nuse = "m:B"\ndepends_on = ["wirter"]',
        "E1001",
        "writer",
    ),
    "cycle": (
        '[components.a]\nuse = "m:A"\ndepends_on = ["b"]\n[components.b]\nuse = "m:B"\ndepends_on = ["a"]',
        "E1004",
        "a -> b -> a",
    ),
    "prefix twice": (
        '[components.a]\nuse = "m:A"\nprefix = "/x"\n[components.b]\nuse = "m:B"\nprefix = "/x"',
        "E1005",
        "/x",
    ),
}


@pytest.mark.parametrize("name", BAD_CONFIGURATIONS)
def test_a_configuration_that_is_wrong_starts_nothing(tmp_path: Path, name: str) -> None:
    text, code, hint = BAD_CONFIGURATIONS[name]

    exit_code, output = launched(tmp_path, text)

    assert exit_code == 2, output
    assert code in output
    assert hint in output


def test_an_unknown_component_on_the_command_line_is_said_with_the_near_miss(tmp_path: Path) -> None:
    exit_code, output = launched(tmp_path, GOOD, "--only", "goood")

    assert exit_code == 2, output
    assert "E1001" in output
    assert "Did you mean 'good'" in output


@pytest.mark.parametrize("name", ["redis", "hiredis", "faststream"])
def test_a_module_of_the_project_with_the_name_of_a_library_hides_nothing_from_one_process(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('this is not the library')\n")
    config = tmp_path / "ctl.toml"
    with running_server("valkey", tmp_path) as server:
        config.write_text(f'{GOOD}\n[bus]\nurl = "{server.url}"\n')
        with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
            made.ctl_launch_detached("single")
            assert made.ctl("stop").returncode == 0


def test_a_folder_of_the_project_with_the_name_of_one_of_ours_hides_nothing_from_us(tmp_path: Path) -> None:
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").touch()
    config = tmp_path / "ctl.toml"
    config.write_text(GOOD)
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.ctl_launch_detached("multi")
        assert made.ctl("stop").returncode == 0
