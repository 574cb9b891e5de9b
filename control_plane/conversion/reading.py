"""Reads the file to import, and words what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from control_plane.config.parsing import parse_file, parse_yaml


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: it cannot be read (E1006), or is no UTF-8 text (E1002).
    """
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as exc:
        fix = "Check the path" if isinstance(exc, FileNotFoundError) else ""
        why = exc.strerror or str(exc)
        raise ConfigError(f"cannot read {path}", why=why, fix=fix, code="E1006") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"{path.name} is not UTF-8 text", why=f"Byte {exc.start}: {exc.reason}", code="E1002"
        ) from exc


def read_tree(path: Path) -> Any:
    """Return what a YAML or JSON file holds.

    Raises:
        ConfigError: it cannot be read (E1006), or is not well-formed (E1002).
    """
    from importlib.util import find_spec

    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    if is_yaml and find_spec("yaml") is None:
        raise ConfigError(
            f"cannot read {path.name}",
            why="It is YAML, and PyYAML is not installed",
            fix="Run `pip install 'coplane[yaml]'`",
            code="E1006",
        )
    try:
        if not is_yaml:
            return parse_file(path)
        from control_plane.conversion.yaml12 import Loader

        return parse_yaml(path, read_text(path), loader=Loader)
    except RecursionError as exc:
        raise ConfigError(f"{path.name} is nested too deeply", code="E1002") from exc


def malformed(path: Path, why: str, *, line: int | None = None, at: str = "", fix: str = "") -> ConfigError:
    """Return the error about a file that is not what it should be.

    Args:
        line: where, counted from 1.
        at: the key or section.
    """
    what = f"cannot import {path.name}" + (f", line {line}" if line else "") + (f": {at}" if at else "")
    return ConfigError(what, why=why, fix=fix, code="E1002")


def wrong_value(path: Path, key: str, given: object, *, expected: str) -> ConfigError:
    """Return the error about one value of a file; `key` is where it stands."""
    return ConfigError(
        f"cannot import {path.name}: {key} is {_shown(given)}", why=f"Expected {expected}", code="E1003"
    )


def nothing_in(path: Path, *, expected: str) -> ConfigError:
    """Return the error about a file without anything that could become a component."""
    return malformed(path, "There is nothing to run in it", fix=f"Expected {expected}")


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list():
            return "a list"
        case str():
            return repr(value[:60])
    return str(value)[:60]
