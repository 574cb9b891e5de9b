"""Fixtures that every test may use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio, which is what Coplane runs on."""
    return "asyncio"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder so short that sockets fit into it: a longer one would get another beside it."""
    with tempfile.TemporaryDirectory(prefix="ctl-", dir="/tmp") as made:
        yield Path(made)
