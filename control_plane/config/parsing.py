"""Reads one configuration file, whatever its format, into a plain tree.

What is wrong with the syntax is shown in place: file, line, column, and the line with a caret.
Knows nothing of what the keys mean.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Never

from contracts.errors import ConfigError
from control_plane.config.discovery import PYPROJECT

Tree = dict[str, Any]

_TOML_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_SHOWN_BEFORE, _SHOWN_AFTER = 70, 30  # characters around the caret, for files of one endless line


def parse_file(path: Path) -> Tree:
    """Return the tree the file holds; an empty file is an empty tree.

    Raises:
        ConfigError: unreadable or of an unknown format (E1006), not well-formed (E1002),
            or not a table at the top (E1003).
    """
    parser = _parser_for(path)
    tree = parser(path, _read(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path.name} holds a {type(tree).__name__}",
            why="Expected a table of sections: app, gateway, bus, control, components, profiles",
            code="E1003",
        )
    return tree


def _parser_for(path: Path) -> Callable[[Path, str], Any]:
    if path.name == PYPROJECT:
        return _parse_pyproject
    parser = _PARSERS.get(path.suffix.lower())
    if parser is None:
        raise ConfigError(
            f"{path} is of no known format",
            why=f"Its name ends in {path.suffix!r}" if path.suffix else "Its name has no ending",
            fix=f"Name it by its format: {', '.join(_PARSERS)}",
            code="E1006",
        )
    return parser


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"cannot read {path}", why=exc.strerror or str(exc), code="E1006") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"{path.name} is not UTF-8 text", why=f"Byte {exc.start}: {exc.reason}", code="E1002"
        ) from exc


def _parse_toml(path: Path, text: str) -> Any:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = _TOML_POSITION.search(str(exc))
        message = _TOML_POSITION.sub("", str(exc))
        if found and found[1]:
            _refuse(path, text, message, line=int(found[1]), column=int(found[2]), cause=exc)
        lines = text.split("\n")
        _refuse(path, text, message, line=len(lines), column=len(lines[-1]) + 1, cause=exc)


def _parse_pyproject(path: Path, text: str) -> Any:
    return _parse_toml(path, text).get("tool", {}).get("ctl")


def _parse_json(path: Path, text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else None
    except json.JSONDecodeError as exc:
        _refuse(path, text, exc.msg, line=exc.lineno, column=exc.colno, cause=exc)


def parse_yaml(path: Path, text: str, *, loader: Any = None) -> Any:
    """Return what a YAML text holds; its keys are texts.

    Args:
        loader: a class that reads it, PyYAML's SafeLoader by default.

    Raises:
        ConfigError: it is not well-formed (E1002), or there is no PyYAML (E1006).
    """
    try:
        import yaml
    except ImportError as exc:
        raise ConfigError(
            f"cannot read {path.name}",
            why="PyYAML is not installed",
            fix="Run `pip install 'coplane[yaml]'`, or write the file as ctl.toml",
            code="E1006",
        ) from exc
    try:
        return _with_text_keys(yaml.load(text, Loader=loader or yaml.SafeLoader))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        _refuse(path, text, exc.problem or str(exc), line=line, column=column, cause=exc)
    except yaml.YAMLError as exc:
        raise ConfigError(f"{path.name} is not valid YAML", why=str(exc), code="E1002") from exc


def _with_text_keys(value: Any) -> Any:
    # YAML keys may be numbers or booleans; a tree has text keys, as it has in TOML and JSON.
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _refuse(path: Path, text: str, message: str, *, line: int, column: int, cause: Exception) -> Never:
    language = {".toml": "TOML", ".json": "JSON"}.get(path.suffix.lower(), "YAML")
    raise ConfigError(
        f"{path.name} is not valid {language}",
        why=f"Line {line}, column {column}: {message}",
        code="E1002",
        detail=_excerpt(text, line=line, column=column),
    ) from cause


def _excerpt(text: str, *, line: int, column: int) -> str:
    lines = text.split("\n")
    whole = lines[line - 1].rstrip("\r") if line <= len(lines) else ""
    first = max(0, column - 1 - _SHOWN_BEFORE)
    before = whole[first : column - 1]
    # Keep tabs, so that the caret stands below its character at any tab width.
    padding = "".join("\t" if char == "\t" else " " for char in before)
    gutter = f"{line} | "
    shown = whole[first : column - 1 + _SHOWN_AFTER]
    return f"{gutter}{shown}\n{' ' * (len(gutter) - 2)}| {padding}^"


_PARSERS: dict[str, Callable[[Path, str], Any]] = {
    ".toml": _parse_toml,
    ".yaml": parse_yaml,
    ".yml": parse_yaml,
    ".json": _parse_json,
}
