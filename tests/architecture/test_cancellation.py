"""Nothing waits under `asyncio.wait_for`, which can lose a cancellation on Python 3.11."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("package", ["components", "contracts", "control_plane"])
def test_no_wait_can_lose_a_cancellation(package: str) -> None:
    """`asyncio.timeout` cannot. See https://github.com/python/cpython/issues/86296, mended in 3.12."""
    sources = list((ROOT / package).rglob("*.py"))

    assert sources
    assert [path.name for path in sources if "asyncio.wait_for(" in path.read_text()] == []
