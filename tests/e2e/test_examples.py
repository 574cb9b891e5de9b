"""The examples run as their READMEs say, in single and in multi mode, and nobody's code was edited for it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.backend import REPOSITORY, Backend, backend, request
from tests.support.redis_servers import running_server
from tests.support.wait import wait_until

EXAMPLES = REPOSITORY / "examples"

both_modes = pytest.mark.parametrize("mode", ["single", "multi"])


def states(made: Backend) -> dict[str, str]:
    """Return the state of each component."""
    status = made.status()
    assert status is not None, made.told()
    return {component["name"]: component["state"] for component in status["components"]}


def lines_of(made: Backend, name: str) -> list[str]:
    """Return what a component has logged and printed, as `ctl logs` shows it."""
    return made.ctl("logs", name).stdout.splitlines()


def in_order(made: Backend, *, code: int = 0) -> None:
    """End the launch as a user does, and look that nothing is left."""
    assert made.interrupt() == code, made.told()
    made.assert_nothing_left()


class TestLegacyAgents:
    @pytest.fixture
    def legacy(self) -> Iterator[Backend]:
        with backend(EXAMPLES / "legacy_agents" / "ctl.toml") as made:
            yield made

    @both_modes
    def test_the_crash_of_one_agent_is_its_own(self, legacy: Backend, mode: str) -> None:
        legacy.start("--mode", mode).until_ready()

        wait_until(lambda: states(legacy)["critic"] == "failed", 20, every_s=0.1)

        found = states(legacy)
        assert {name for name, state in found.items() if state != "ready"} == {"critic"}
        assert "the critic cannot bear it any longer" in legacy.ctl("why", "critic").stdout
        in_order(legacy, code=0)

    @both_modes
    def test_its_log_lines_are_there_once_although_it_configures_logging(
        self, legacy: Backend, mode: str
    ) -> None:
        legacy.start("--mode", mode).until_ready()

        wait_until(lambda: lines_of(legacy, "writer"), 10)
        said = [line for line in lines_of(legacy, "writer") if "agent is at work" in line]
        assert len(said) == 1, said
        assert "writer-1" in said[0]
        assert not [line for line in lines_of(legacy, "writer") if "INFO replica.transitioned" in line]
        in_order(legacy)

    def test_its_signal_handler_is_called_after_ours_where_the_process_is_its_own(
        self, legacy: Backend
    ) -> None:
        legacy.start("--mode", "multi").until_ready()

        os.kill(legacy.replica("writer-1")["pid"], signal.SIGTERM)
        wait_until(lambda: states(legacy)["writer"] == "stopped", 20, every_s=0.1)

        assert any("writer: signal 15" in line for line in lines_of(legacy, "writer"))
        in_order(legacy)

    @both_modes
    def test_settings_that_are_read_at_import_are_those_of_the_component(self, mode: str) -> None:
        """Others import the same modules without that variable, before the fork."""
        env = {"CTL_COMPONENTS__WRITER__ENV__NOVEL_TONE": "noir"}
        with backend(EXAMPLES / "legacy_agents" / "ctl.toml", env=env) as made:
            made.start("--mode", mode).until_ready()

            wait_until(lambda: any("in a noir tone" in line for line in lines_of(made, "writer")), 10)
            others = "plain" if mode == "multi" else "noir"
            wait_until(lambda: any(f"in a {others} tone" in line for line in lines_of(made, "director")), 10)
            in_order(made)

    @both_modes
    def test_every_agent_stops_by_its_own_stop(self, legacy: Backend, mode: str) -> None:
        legacy.start("--mode", mode).until_ready()
        assert legacy.launch is not None
        legacy.launch.send_signal(signal.SIGTERM)
        assert legacy.launch.wait(30) == 0, legacy.told()

        logs = "\n".join(path.read_text() for path in (legacy.home / "logs").glob("*.log"))
        for name in ("director", "writer", "worldsmith"):
            assert f"{name} agent has left after" in logs
        legacy.assert_nothing_left()


@contextlib.contextmanager
def alone(folder: Path, app: str, **env: str) -> Iterator[str]:
    """Run an application as its team does, with uvicorn; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **env})
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), 20)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    """Tell whether somebody answers there."""
    try:
        return bool(request(url)[0])
    except OSError:
        return False


class TestFastApi:
    """An application at the root, where it always was."""

    FOLDER = EXAMPLES / "fastapi_app"
    PATHS = ("/items", "/orders", "/health", "/live", "/blocked", "/old", "/nothing-here", "/docs")

    @both_modes
    def test_it_answers_as_it_does_alone(self, mode: str) -> None:
        with alone(self.FOLDER, "shop.app:app") as there, backend(self.FOLDER / "ctl.toml") as made:
            here = made.start("--mode", mode).until_ready()["gateway"]["url"]
            for path in self.PATHS:
                assert request(here + path)[::2] == request(there + path)[::2], path
            for item in ("tea", "lamp", "moon"):
                told = [request(f"{url}/orders?item={item}", method="POST") for url in (here, there)]
                assert told[0][0] == told[1][0]
                assert told[0][2].replace(here.encode(), b"") == told[1][2].replace(there.encode(), b"")
            in_order(made)

    def test_the_way_back_runs_the_command_of_before_at_its_own_port(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = {"CTL_LAUNCHER": "legacy", "PORT": str(port), "PATH": beside}
        with backend(self.FOLDER / "ctl.toml", env=env) as made:
            status = made.start("--mode", "multi").until_ready()
            assert [component["name"] for component in status["components"]] == ["shop"]
            assert (status["mode"], status["gateway"]["url"]) == ("single", "")
            wait_until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
            assert request(f"http://127.0.0.1:{port}/items")[0] == 200

            assert made.ctl("restart", "shop").returncode == 0
            wait_until(lambda: answers(f"http://127.0.0.1:{port}"), 20)
            assert made.ctl("stop").returncode == 0
            assert made.launch is not None
            assert made.launch.wait(20) == 0, made.told()
            made.assert_nothing_left()
            logs = (made.home / "logs" / "shop-1.out.log").read_text()
            assert "the shop has closed its books" in logs

    def test_ways_to_run_it_are_compared_and_auto_goes_by_that(self, tmp_path: Path) -> None:
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with backend(self.FOLDER / "ctl.toml", env={"PATH": beside, "PORT": str(port)}) as made:
            ways = ("single", "multi", "legacy", "--url", f"http://127.0.0.1:{port}", "--path", "/items")
            done = made.ctl("compare", *ways, "--runs", "1", "--idle", "0.5", "--requests", "20", "--json")
            assert done.returncode == 0, done.stdout + done.stderr
            found = json.loads(done.stdout)
            assert [each["way"] for each in found["figures"]] == ["single", "multi", "legacy"]
            for each in found["figures"]:
                assert (each["failed_launches"], each["failed_requests"]) == (0, 0), each
                assert each["memory_mb"] > 10
                assert each["start_s"] > 0.1
                assert each["p50_ms"] > 0
            assert found["recommended"] == "single"

            plan = made.ctl("launch", "--mode", "auto", "--dry-run").stdout
            assert plan.startswith("shop in single mode (auto: by the comparison of ")
            made.assert_nothing_left()

            refused = made.ctl("compare", "singel")
            assert refused.returncode == 2
            assert "E1009 unknown way 'singel'. Did you mean 'single'" in refused.stderr

    @both_modes
    def test_its_streams_end_at_the_stop_and_its_lifespan_after_them(self, mode: str) -> None:
        with backend(self.FOLDER / "ctl.toml") as made:
            url = made.start("--mode", mode).until_ready()["gateway"]["url"]
            with (
                urllib.request.urlopen(f"{url}/ticker", timeout=20) as stream,
                connect(f"{url.replace('http', 'ws')}/chat") as chat,
            ):
                assert stream.readline() == b"data: tick 0\r\n"
                chat.send("hello")
                assert chat.recv(timeout=10) == "you said: hello"

                in_order(made)

                stream.read()  # to a proper end: a body that breaks off raises
                with pytest.raises(ConnectionClosed, match="1012"):
                    chat.recv(timeout=10)
            logs = "".join(path.read_text() for path in (made.home / "logs").glob("*.log"))
            assert "the shop has closed its books" in logs


@both_modes
def test_datasette_answers_under_a_prefix_as_it_does_at_the_root(mode: str, tmp_path: Path) -> None:
    folder, books = EXAMPLES / "datasette", str(tmp_path / "books.db")
    with (
        alone(folder, "library:app", BOOKS=books) as there,
        backend(folder / "ctl.toml", env={"BOOKS": books}) as made,
    ):
        here = made.start("--mode", mode).until_ready()["gateway"]["url"] + "/library"
        for path in ("/books/books.json?_shape=array", "/-/databases.json", "/books/nothing.json"):
            assert request(here + path)[::2] == request(there + path)[::2], path
        page = request(f"{here}/books/books")[2].decode()
        links = re.findall(r'href="(/[^"]*)"', page)
        assert len(links) > 5
        assert all(link.startswith("/library/") for link in links), links
        found = {link: request(here.removesuffix("/library") + unescape(link))[0] for link in links}
        assert set(found.values()) == {200}, found
        in_order(made)


@both_modes
def test_a_mail_server_gets_letters_and_says_so_in_its_log(mode: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with backend(EXAMPLES / "mail_server" / "ctl.toml", env={"MAIL_PORT": str(port)}) as made:
        made.start("--mode", mode).until_ready()
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as post:
            post.sendmail("ada@example.org", ["bob@example.org"], "Subject: hello\n\nhello")

        wait_until(
            lambda: any("a letter from ada@example.org" in line for line in lines_of(made, "mail")), 20
        )
        assert made.ctl("restart", "mail").returncode == 0  # at one port: the old one stops first
        with smtplib.SMTP("127.0.0.1", port, timeout=20) as post:
            assert post.noop()[0] == 250
        in_order(made)


@pytest.mark.parametrize(
    ("example", "component"), [("fastapi_app", "shop"), ("datasette", "books"), ("mail_server", "mail")]
)
def test_a_process_that_dies_is_replaced_and_is_nobody_elses_end(
    example: str, component: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = {"BOOKS": str(tmp_path / "books.db"), "MAIL_PORT": str(port)}
    with backend(EXAMPLES / example / "ctl.toml", env=env) as made:
        made.start("--mode", "multi").until_ready()
        gateway, before = made.replica("gateway-1")["pid"], made.replica(f"{component}-1")["pid"]

        os.kill(before, signal.SIGKILL)
        wait_until(lambda: made.replica(f"{component}-1")["pid"] not in (None, before), 20)
        made.until_ready()

        assert made.replica(f"{component}-1")["restarts"] == 1
        assert made.replica("gateway-1")["pid"] == gateway
        in_order(made)


@pytest.mark.skipif(not shutil.which("node"), reason="there is no Node.js here")
@both_modes
def test_a_node_program_answers_behind_the_gateway_and_is_replaced_when_it_dies(mode: str) -> None:
    with backend(EXAMPLES / "node_program" / "ctl.toml") as made:
        url = made.start("--mode", mode).until_ready()["gateway"]["url"]
        assert json.loads(request(f"{url}/frontend/hello?a=1")[2])["path"] == "/hello?a=1"
        (program,) = made.named("node")

        os.kill(program, signal.SIGKILL)
        wait_until(lambda: made.named("node") - {program}, 20)
        made.until_ready()

        assert request(f"{url}/frontend/again")[0] == 200
        assert made.ctl("restart", "frontend").returncode == 0
        in_order(made)
        assert "closing" in "".join(path.read_text() for path in (made.home / "logs").glob("*.out.log*"))


@pytest.fixture(scope="module")
def arq(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Install arq into an environment of its own, as its example says."""
    folder = tmp_path_factory.mktemp("arq")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([f"{folder}/bin/python", "-m", "pip", "install", "-q", "arq"], check=True, timeout=100)
    return f"{folder}/bin/arq"


@both_modes
def test_arq_workers_do_the_jobs_of_their_own_queue(mode: str, arq: str, tmp_path: Path) -> None:
    ask = "import asyncio, arq, sys; from jobs import WorkerSettings as w\n"
    ask += "async def main(): await (await arq.create_pool(w.redis_settings)).enqueue_job('shout', 'hello')\n"
    with running_server("valkey", tmp_path) as server:
        env = {"ARQ": arq, "ARQ_REDIS": server.url}
        with backend(EXAMPLES / "arq_worker" / "ctl.toml", env=env) as made:
            made.start("--mode", mode).until_ready()
            python = str(Path(arq).with_name("python"))
            command = [python, "-c", f"{ask}asyncio.run(main())"]
            subprocess.run(command, cwd=EXAMPLES / "arq_worker", env={**os.environ, **env}, check=True)

            wait_until(lambda: any("job done: HELLO" in line for line in lines_of(made, "worker")), 20)
            in_order(made)


def test_each_example_says_what_it_is_and_how_it_is_run() -> None:
    for folder in sorted(path for path in EXAMPLES.iterdir() if path.is_dir()):
        assert (folder / "ctl.toml").is_file(), folder
        assert "ctl launch" in (folder / "README.md").read_text(), folder
