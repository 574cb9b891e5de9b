"""A component at a host of its own has all of it, and nothing of the others'."""

from __future__ import annotations

import json
import os
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
