"""Which source files count as changed since they were imported."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from control_plane.runtime.sources import Sources

MODULE = "imported_for_a_test"


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a file that was written an hour ago and is imported."""
    path = tmp_path / f"{MODULE}.py"
    path.write_text("")
    an_hour_ago = time.time() - 3_600
    os.utime(path, (an_hour_ago, an_hour_ago))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(MODULE)
    yield path
    del sys.modules[MODULE]


def sources_of(path: Path, *, read_since_ns: int) -> Sources:
    sources = Sources(path.parent, read_since_ns=read_since_ns)
    sources.add([MODULE])
    return sources


def test_a_file_that_stays_as_it_was_has_not_changed(imported: Path) -> None:
    assert sources_of(imported, read_since_ns=time.time_ns()).changed() == ""


def test_a_file_that_is_written_later_has_changed(imported: Path) -> None:
    sources = sources_of(imported, read_since_ns=time.time_ns())
    imported.write_text("a = 1")
    assert sources.changed() == str(imported)


def test_a_file_that_was_written_while_the_imports_were_going_on_has_changed(imported: Path) -> None:
    """Whether it was imported before or after that, nobody knows."""
    began_ns = time.time_ns()
    imported.write_text("a = 1")
    assert sources_of(imported, read_since_ns=began_ns).changed() == str(imported)
