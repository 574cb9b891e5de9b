"""Writes the files that a verb makes, and takes care of those that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.errors import ConfigError

STDOUT = "-"


def refuse_to_overwrite(paths: Sequence[Path], *, force: bool) -> None:
    """Refuse to write over a file that is there, unless that is forced.

    Raises:
        ConfigError: a file is there (E1012).
    """
    for path in paths:
        if path.is_dir():
            raise ConfigError(
                f"{path} is a folder", fix="Name the file to write with --output PATH", code="E1012"
            )
        if path.exists() and not force:
            raise ConfigError(
                f"{path} exists already",
                fix="Write over it with --force, elsewhere with --output PATH, or print with --output -",
                code="E1012",
            )


def write_files(texts: Mapping[Path, str]) -> None:
    """Write every file, and the folder it is in.

    Raises:
        ConfigError: one cannot be written (E1012).
    """
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise ConfigError(f"cannot write {path}", why=exc.strerror or str(exc), code="E1012") from exc
