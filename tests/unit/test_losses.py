"""Log lines that cannot be written are counted, and nobody fails for them."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.runtime import host_logging
from control_plane.runtime.losses import LOSSES

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="a full disk is simulated with /dev/full")


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[logging.Logger]:
    """Give a logger that writes below `tmp_path`, without losses so far."""
    handler = host_logging.ReplicaFiles(tmp_path, "label")
    logger = logging.getLogger("tests.losses")
    logger.propagate = False
    logger.addHandler(handler)
    LOSSES.reset()
    yield logger
    logger.removeHandler(handler)
    handler.close()
    LOSSES.reset()


class TestLogFiles:
    def test_each_line_that_a_full_disk_does_not_take_is_counted(
        self, logger: logging.Logger, tmp_path: Path
    ) -> None:
        (tmp_path / "label.log").symlink_to(FULL)

        for _ in range(300):  # more than fits a buffer
            logger.warning("a line that is lost, %s", "x" * 100)

        loss = LOSSES.so_far()
        assert loss is not None
        assert (loss.lines, loss.reason) == (300, "No space left on device")

    def test_lines_are_written_again_when_there_is_room_and_lost_ones_stay_lost(
        self, logger: logging.Logger, tmp_path: Path
    ) -> None:
        log = tmp_path / "label.log"
        log.symlink_to(FULL)
        logger.warning("lost")
        log.unlink()

        logger.warning("kept")

        assert LOSSES.lines == 1
        assert "kept" in log.read_text()
        assert "lost" not in log.read_text()

    def test_a_file_that_cannot_be_put_aside_grows_on(
        self, logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(host_logging, "MAX_FILE_BYTES", 100)
        (tmp_path / "label.log.2").touch()
        (tmp_path / "label.log.3").mkdir()  # in the way

        for number in range(5):
            logger.warning("line %d", number)

        assert len((tmp_path / "label.log").read_text().splitlines()) == 5
        assert LOSSES.so_far() is None

    def test_a_folder_that_is_gone_costs_lines_only(self, logger: logging.Logger, tmp_path: Path) -> None:
        tmp_path.rmdir()

        logger.warning("lost")

        tmp_path.mkdir()
        assert LOSSES.lines == 1


class TestOutput:
    def test_prints_and_tracebacks_to_a_full_disk_raise_nothing_and_are_counted(self) -> None:
        program = """
import logging, sys, warnings
from control_plane.runtime.losses import LOSSES, forgive_output
forgive_output()
for _ in range(3):
    print("x" * 10_000)
print("two\\nlines", flush=True)
sys.stdout.buffer.write(b"raw")
sys.stdout.flush()
sys.stderr.write("line\\n")
logging.basicConfig()
logging.error("message")
assert LOSSES.lines >= 8, LOSSES
assert LOSSES.reason == "No space left on device", LOSSES
"""
        with FULL.open("w") as full:
            done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=full, check=False)
        assert done.returncode == 0

    def test_what_fits_is_written_at_once_and_unchanged(self) -> None:
        program = """
import os
from control_plane.runtime.losses import forgive_output
forgive_output()
forgive_output()
print("grüß \\udce4")
os.write(1, b"after\\n")
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        assert done.stdout == "grüß \\udce4\nafter\n".encode()
