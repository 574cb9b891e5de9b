"""Users' code configures logging as it likes; our log has every line, and each of them once."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.runtime import host_logging

users = logging.getLogger("novel.agents")
ours = logging.getLogger("coplane.host")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    handler = host_logging.configure(tmp_path, label="writer-1")
    yield tmp_path
    host_logging.release(handler)
    root.handlers[:], root.level = before, level


def logged(folder: Path) -> list[str]:
    return [json.loads(line)["message"] for line in (folder / "writer-1.log").read_text().splitlines()]


def basic(_folder: Path) -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)


def dictionary(_folder: Path) -> None:
    logging.config.dictConfig({"version": 1, "root": {"level": "INFO", "handlers": []}})


def replaced(_folder: Path) -> None:
    logging.getLogger().handlers = [logging.NullHandler()]


@pytest.mark.parametrize("configure", [basic, dictionary, replaced])
def test_whatever_users_code_does_the_log_has_every_line_once(
    folder: Path, capsys: pytest.CaptureFixture[str], configure: Callable[[Path], Any]
) -> None:
    configure(folder)
    host_logging.assert_again()
    logging.getLogger("novel.agents").info("theirs")
    users.disabled = False
    users.warning("theirs as well")
    ours.info("ours")

    assert logged(folder)[-2:] == ["theirs as well", "ours"]
    assert len(logged(folder)) == len(set(logged(folder)))
    assert "ours" not in capsys.readouterr().err


def test_a_handler_for_a_file_works_as_ever(folder: Path) -> None:
    logging.basicConfig(filename=folder / "mine.txt", format="%(message)s", level=logging.INFO, force=True)
    users.info("theirs")
    ours.info("ours")

    assert (folder / "mine.txt").read_text() == "theirs\n"
    assert logged(folder) == ["theirs", "ours"]
    logging.getLogger().handlers[-1].close()


def test_a_handler_that_prints_what_was_printed_does_not_go_round_in_circles(folder: Path) -> None:
    with host_logging.prints_to_log():
        users.addHandler(echo := logging.StreamHandler(sys.stderr))
        try:
            users.warning("theirs")
        finally:
            users.removeHandler(echo)

    assert logged(folder) == ["theirs", "theirs"]  # once logged, once printed: as they asked


def test_afterwards_the_root_logger_is_as_before(folder: Path) -> None:
    handler = logging.getLogger("coplane").handlers[0]
    assert isinstance(handler, host_logging.ReplicaFiles)

    host_logging.release(handler)

    assert type(logging.getLogger()) is logging.RootLogger
    assert logging.getLogger().parent is None
    assert logging.getLogger("coplane").propagate
