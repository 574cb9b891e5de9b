"""The bus dies, hangs, refuses or forgets: what needs no bus goes on, and the rest resumes by itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.e2e.test_faults import pids
from tests.support.backend import Backend, backend, request
from tests.support.redis_servers import Server, running_server
from tests.support.wait import wait_until

SOURCE = """
[components.bell]
use = "tests.support.samples:Bell"
health = { interval_s = 0.5, timeout_s = 0.2 }
[components.ear]
use = "tests.support.samples:Ear"
health = { interval_s = 0.5, timeout_s = 0.2 }
"""
NOTICED_S = 15.0  # three heartbeats, a probe, and a loaded machine


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ctl.toml"
    path.write_text(SOURCE)
    return path


@contextlib.contextmanager
def launched(config: Path, **env: str) -> Iterator[tuple[Backend, dict[str, Any]]]:
    """Launch the bell and the ear, and prove that one hears the other; afterwards that nothing is left."""
    with backend(config, env={"PYTHONPATH": os.getcwd(), **env}) as made:
        status = made.start("--mode", "multi").until_ready()
        url = status["gateway"]["url"]
        assert ring(url, 0) == "accepted"
        wait_until(lambda: 0 in heard(url), 10)
        yield made, status
        assert made.interrupt() == 0, made.output
        made.assert_nothing_left()


def ring(url: str, number: int) -> str:
    """Let the bell publish; return what came of it."""
    status, _, body = request(f"{url}/agents/bell/ring/{number}", method="POST")
    assert status == 200, body
    return str(json.loads(body)["outcome"])


def heard(url: str) -> list[int]:
    """Return what the ear has heard."""
    status, _, body = request(f"{url}/agents/ear/")
    assert status == 200, body
    return list(json.loads(body))


def is_connected(made: Backend) -> bool:
    """Tell what the status says of the bus."""
    status = made.status()
    assert status is not None, "the control plane answers, whatever the bus does"
    return bool(status["bus"]["connected"])


def assert_goes_on_without_bus(made: Backend, before: dict[str, Any], *, refusal: str = "E4001") -> None:
    """Prove that the status tells of the bus, requests are answered and publishers hear why they fail."""
    wait_until(lambda: not is_connected(made), NOTICED_S, every_s=0.1)
    assert "disconnected" in made.ctl("status").stdout
    url = before["gateway"]["url"]
    began_s = time.monotonic()
    assert request(f"{url}/agents/bell/", timeout_s=3)[0] == 200
    assert ring(url, 1) == refusal
    assert time.monotonic() - began_s < 5


def assert_resumes(made: Backend, before: dict[str, Any]) -> None:
    """Prove that messages flow again, and that nobody was restarted for it."""
    url = before["gateway"]["url"]
    wait_until(lambda: is_connected(made), NOTICED_S, every_s=0.1)
    wait_until(lambda: ring(url, 2) == "accepted", 15, every_s=0.2)
    wait_until(lambda: 2 in heard(url), 20, every_s=0.1)
    after = made.until_ready()
    assert pids(after) == pids(before)
    assert [r["restarts"] for c in after["components"] for r in c["replicas"]] == [0, 0, 0]


def embedded(made: Backend) -> psutil.Process:
    """Return the process of the embedded Valkey."""
    (found,) = [process for process in made.processes() if "valkey" in process.name()]
    return found


def connected(status: dict[str, Any]) -> redis.Redis:
    """Return a client of the bus."""
    return redis.Redis(unix_socket_path=status["bus"]["url"].removeprefix("unix://"), decode_responses=True)


def test_a_killed_valkey_comes_back_with_what_it_had_accepted(config: Path) -> None:
    with launched(config) as (made, before):
        url = before["gateway"]["url"]
        embedded(made).kill()

        assert ring(url, 7) == "accepted", "the publish waits, within its deadline"
        assert_resumes(made, before)
        assert 7 in heard(url)


def test_a_frozen_valkey_is_called_disconnected_until_it_goes_on(config: Path) -> None:
    with launched(config) as (made, before):
        valkey = embedded(made)
        valkey.suspend()

        assert_goes_on_without_bus(made, before)
        valkey.resume()

        assert_resumes(made, before)


def test_a_stop_while_valkey_is_frozen_drains_hosts_and_says_that_no_ledger_was_read(config: Path) -> None:
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.start("--mode", "multi").until_ready()
        embedded(made).suspend()

        assert made.interrupt() == 1
        assert "The ledger could not be read: no answer in time" in made.output
        assert "killed, not drained" not in made.output
        made.assert_nothing_left()


def test_a_valkey_that_refuses_to_write_is_called_disconnected(config: Path) -> None:
    with launched(config) as (made, before), connected(before) as client:
        client.config_set("maxmemory", 1)

        assert_goes_on_without_bus(made, before)
        client.config_set("maxmemory", 0)

        assert_resumes(made, before)


def test_a_flushed_bus_is_furnished_again(config: Path) -> None:
    with launched(config) as (made, before), connected(before) as client:
        client.flushall()

        assert_resumes(made, before)


def forget_and_restart(server: Server, folder: Path) -> None:
    """Let the server come back with nothing."""
    server.kill()
    shutil.rmtree(folder / "appendonlydir")
    server.start()


def test_a_bus_of_ones_own_that_restarts_empty_is_furnished_again(config: Path, tmp_path: Path) -> None:
    with (
        running_server("valkey", tmp_path) as server,
        launched(config, CTL_BUS__URL=server.url) as (
            made,
            before,
        ),
    ):
        forget_and_restart(server, tmp_path)

        assert_resumes(made, before)


def test_a_bus_of_ones_own_that_is_gone_is_waited_for(config: Path, tmp_path: Path) -> None:
    with (
        running_server("valkey", tmp_path) as server,
        launched(config, CTL_BUS__URL=server.url) as (
            made,
            before,
        ),
    ):
        server.stop()

        assert_goes_on_without_bus(made, before)
        server.start()

        assert_resumes(made, before)


def test_a_bus_that_refuses_our_password_after_a_restart_is_waited_for(config: Path, tmp_path: Path) -> None:
    with (
        running_server("valkey", tmp_path) as server,
        launched(config, CTL_BUS__URL=server.url) as (
            made,
            before,
        ),
    ):
        server.restart()
        with connected({"bus": {"url": server.url}}) as client:
            client.config_set("requirepass", "secret")
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

            assert_goes_on_without_bus(made, before, refusal="E4002")
            client.config_set("requirepass", "")

        assert_resumes(made, before)
