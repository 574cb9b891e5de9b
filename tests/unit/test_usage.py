"""What a process says of its own memory and processor time."""

from __future__ import annotations

import time

import psutil
import pytest

from control_plane.runtime import usage
from control_plane.runtime.usage import Usage


@pytest.mark.parametrize("statm", [usage._STATM, "/nowhere/statm"])
def test_resident_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch, statm: str) -> None:
    monkeypatch.setattr(usage, "_STATM", statm)
    expected = psutil.Process().memory_info().rss
    assert Usage().read().rss_bytes == pytest.approx(expected, rel=0.1)


def test_processor_time_is_that_since_the_last_reading() -> None:
    measured = Usage()
    ends_s = time.process_time() + 0.05
    while time.process_time() < ends_s:
        pass
    assert measured.read().cpu_percent > 1
