"""`os._exit` ends the component that calls it, and no neighbour."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.backend import backend
from tests.support.wait import wait_until

CONFIG = """
[components.{where}]
use = "tests.support.estate:Exits"
config = {{ where = "{where}" }}
group = "shared"
restart = {{ max_restarts = 1, backoff_s = 0.05 }}

[components.shop]
use = "tests.support.estate:create_shop"
group = "shared"
"""


@pytest.mark.parametrize("where", ["task", "thread", "pool"])
@pytest.mark.parametrize("mode", ["single", "hybrid", "multi"])
def test_it_is_the_crash_of_that_component(mode: str, where: str, tmp_path: Path) -> None:
    config = tmp_path / "ctl.toml"
    config.write_text(CONFIG.format(where=where))
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        made.start("--mode", mode)
        wait_until(lambda: made.ctl("status", where).stdout.count("failed") >= 1, 30)

        shop, failed = made.replica("shop-1"), made.replica(f"{where}-1")
        assert (shop["state"], shop["restarts"]) == ("ready", 0)
        how = "its process exited with code 7" if mode == "multi" else "os._exit(7)"
        assert how in failed["reason"]
        assert made.interrupt() == 0, made.told()
        made.assert_nothing_left()


def test_at_import_in_a_shared_process_it_is_a_module_that_raises(tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text("import os\nos._exit(3)\n")
    config = tmp_path / "ctl.toml"
    config.write_text('[components.deadly]\nuse = "deadly:Anything"\n')
    with backend(config) as made:
        launched = made.ctl("launch", "--mode", "single")

        assert launched.returncode == 1
        assert "importing 'deadly' raised ExitRefused: os._exit(3)" in launched.stderr
        made.assert_nothing_left()
