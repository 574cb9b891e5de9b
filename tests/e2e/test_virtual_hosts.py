"""A component at a host or a port of its own has all of it, and nothing of the others'."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.backend import backend, request

CONFIG = """
[components.shop]
use = "tests.support.estate:shop"
host = "shop.localhost"

[components.corner]
use = "tests.support.estate:create_shop"
prefix = "/"

[components.asks]
use = "tests.support.estate:AsksTheShop"
"""


def asked(url: str, path: str, host: str) -> tuple[int, Any]:
    status, _, body = request(url + path, headers={"Host": host})
    return status, json.loads(body)


@pytest.mark.parametrize("mode", ["single", "multi"])
def test_a_request_belongs_to_whom_its_host_belongs(mode: str, tmp_path: Path) -> None:
    config = tmp_path / "ctl.toml"
    config.write_text(CONFIG)
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        url = made.start("--mode", mode).until_ready()["gateway"]["url"]

        for host in ("shop.localhost", "SHOP.localhost:8000"):
            assert asked(url, "/stock", host) == (200, {"stock": 7, "root": "", "path": "/stock"})
        assert asked(url, "/title", "shop.localhost")[0] == 404
        assert asked(url, "/-/health", "shop.localhost") == (404, {"detail": "Not Found"})

        for host in ("localhost", "example.org", "[::1]:80"):
            assert asked(url, "/title", host) == (200, {"title": "shop"})
            assert asked(url, "/stock", host)[0] == 404
            assert asked(url, "/-/health", host) == (200, {"status": "ok"})

        assert asked(url, "/agents/asks/stock", "localhost")[1]["stock"] == 7
        assert asked(url, "/openapi.json", "shop.localhost")[1]["info"]["title"] == "FastAPI"
        paths = asked(url, "/openapi.json", "localhost")[1]["paths"]
        assert "/title" in paths
        assert "/stock" not in paths
        assert made.interrupt() == 0, made.told()
        made.assert_nothing_left()


PORTS = """
[components.shop]
use = "tests.support.estate:shop"
port = {port}
group = "trade"

[components.till]
use = "tests.support.estate:create_shop"
factory = true
port = {port}
prefix = "/till"
group = "trade"

[components.corner]
use = "tests.support.estate:create_shop"
prefix = "/"
group = "trade"

[components.asks]
use = "tests.support.estate:AsksTheShop"
"""


@pytest.mark.parametrize("mode", ["single", "multi", "hybrid"])
def test_a_request_belongs_to_whom_its_port_belongs(mode: str, tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "ctl.toml"
    config.write_text(PORTS.format(port=port))
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        gateway = made.start("--mode", mode).until_ready()["gateway"]
        url, own = gateway["url"], f"http://127.0.0.1:{port}"
        assert gateway["listeners"] == {"shop": own, "till": own}
        assert f"shop {own}" in made.ctl("status").stdout

        def all_is_where_it_belongs() -> None:
            assert asked(own, "/stock", "anything") == (200, {"stock": 7, "root": "", "path": "/stock"})
            assert asked(own, "/till/title", "anything") == (200, {"title": "shop"})
            assert asked(own, "/-/health", "anything") == (404, {"detail": "Not Found"})
            assert asked(url, "/title", "localhost") == (200, {"title": "shop"})
            assert asked(url, "/stock", "localhost")[0] == 404
            assert asked(url, "/-/health", "localhost") == (200, {"status": "ok"})
            assert asked(url, "/agents/asks/stock", "localhost")[1]["stock"] == 7

        all_is_where_it_belongs()
        claimed = {"Host": f"127.0.0.1:{port}", "X-Forwarded-Port": str(port)}
        assert request(url + "/stock", headers=claimed)[0] == 404, "a client's word was taken for its port"

        assert made.ctl("restart", "gateway").returncode == 0
        assert made.ctl("restart", "shop").returncode == 0
        all_is_where_it_belongs()
        assert made.interrupt() == 0, made.told()
        made.assert_nothing_left()


def test_routes_that_another_component_answers_are_told_at_launch(tmp_path: Path) -> None:
    config = tmp_path / "ctl.toml"
    prefixes = {"site": "/", "title": "/title"}
    config.write_text(
        "".join(
            f'[components.{name}]\nuse = "tests.support.estate:create_shop"\nprefix = "{prefix}"\n'
            for name, prefix in prefixes.items()
        )
    )
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        status = made.start("--mode", "multi").until_ready()

        warning = "'title' at /title answers 1 route of 'site': GET /title"
        assert status["warnings"] == [warning]
        assert f"warning: {warning}" in made.output
        assert made.interrupt() == 0
        made.assert_nothing_left()


def test_a_port_of_a_components_own_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "ctl.toml"
        config.write_text(PORTS.format(port=port))
        with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
            launched = made.ctl("launch", "--mode", "multi")

            assert launched.returncode == 1
            assert f"E2001 port {port} on 127.0.0.1 is taken" in launched.stderr
            made.assert_nothing_left()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
