"""Writes the files that a verb makes, and takes care of those that are there.

A file that is there stays whole until the new one is whole beside it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.errors import ConfigError

STDOUT = "-"
PUBLIC = 0o666  # less what the umask takes away
PRIVATE = 0o600


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
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is no plain file", fix="Print with --output -", code="E1012")
        if path.exists() and not force:
            raise ConfigError(
                f"{path} exists already",
                fix="Write over it with --force, elsewhere with --output PATH, or print with --output -",
                code="E1012",
            )


def write_files(texts: Mapping[Path, str], *, mode: int = PUBLIC) -> None:
    """Write every file, and the folder it is in.

    Args:
        mode: that of a new file; one that is there keeps its own.

    Raises:
        ConfigError: one cannot be written (E1012), and is as it was.
    """
    contents = {path: _encoded(text, str(path)) for path, text in texts.items()}
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Write through a link, and not over it.
            _replace(path.resolve(), content, mode=mode)
        except OSError as exc:
            raise ConfigError(f"cannot write {path}", why=exc.strerror or str(exc), code="E1012") from exc


def print_text(text: str) -> None:
    """Print what would be written.

    Raises:
        ConfigError: it cannot be written (E1012).
    """
    _encoded(text, "the text")
    sys.stdout.write(text)


def _encoded(text: str, name: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as exc:
        line = text.count("\n", 0, exc.start) + 1
        why = f"Line {line} would have {text[exc.start]!r}, which is no character of UTF-8"
        raise ConfigError(f"cannot write {name}", why=why, code="E1012") from exc


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            if path.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
