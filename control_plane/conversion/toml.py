"""Writes what was imported as a `ctl.toml`, the comments where they belong. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Array, Table

from contracts.specs import ControlSpec, GatewaySpec
from control_plane.conversion.model import Imported, Program

WIDTH = 100
_INLINE_CHARS = 72  # longer tables and lists are written over several lines
_HTTP_REMARK = (
    "`port` is where a program answers HTTP by itself. The gateway leads to it too, under its `prefix` "
    "(/agents/NAME), and leaves that in the path."
)


def to_toml(imported: Imported, *, origin: str, app: str, source: Path, target: Path) -> str:
    """Return the text of the file.

    Args:
        origin: what was read, for the first comment.
        app: the name for `[app]`.
        source: the folder that paths in `imported` start from.
        target: the folder that the text is written into.
    """
    document = tomlkit.document()
    _comment(document, f"Written by `ctl import` from {origin}.")
    with_port = any(program.port is not None for program in imported.programs)
    for remark in (*imported.remarks, *([_HTTP_REMARK] if with_port else [])):
        _comment(document, remark)
    document.add(tomlkit.nl())
    document.add("app", _table([("name", app)]))
    _add_servers(document, imported.programs)
    components = tomlkit.table(is_super_table=True)
    for program in imported.programs:
        components.add(program.name, _component(program, source, target))
    document.add("components", components)
    _add_profiles(document, imported.profiles)
    for text in imported.left_out:
        document.add(tomlkit.nl())
        _comment(document, text)
    return _tidy(tomlkit.dumps(document))


def _add_servers(document: tomlkit.TOMLDocument, programs: Sequence[Program]) -> None:
    """Move Coplane's own servers out of the way of the programs' ports."""
    taken = {number: program.name for program in reversed(programs) if (number := _number(program.port))}
    for section, default in (("gateway", GatewaySpec().port), ("control", ControlSpec().port)):
        free = next(port for port in range(default, default + len(taken) + 1) if port not in taken)
        if free != default:
            port = tomlkit.item(free)
            port.comment(f"{default} by default, which {taken[default]!r} uses")
            document.add(section, _table([("port", port)]))
        taken[free] = section


def _number(port: int | str | None) -> int | None:
    """Return a port, of one that a variable says its default."""
    if isinstance(port, str):
        found = re.search(r":-(\d+)\}", port)
        return int(found[1]) if found else None
    return port


def _component(program: Program, source: Path, target: Path) -> Table:
    table = tomlkit.table()
    for remark in program.remarks:
        _comment(table, remark)
    for key, value in _options(program, source, target):
        table.add(key, value)
    if program.env:
        table.add("env", _inline(program.env) if _fits(program.env) else _table(program.env.items()))
    return table


def _options(program: Program, source: Path, target: Path) -> Iterator[tuple[str, Any]]:
    yield "command", _array(program.command)
    if cwd := _moved(program.cwd, source, target):
        yield "cwd", cwd
    if program.env_file:
        yield "env_file", _moved(program.env_file, source, target)
    plain: dict[str, Any] = {
        "port": program.port,
        "pty": program.pty or None,
        "replicas": program.replicas if program.replicas != 1 else None,
        "depends_on": list(program.depends_on) or None,
        "stop_signal": program.stop_signal or None,
        "grace_period_s": _short(program.grace_period_s),
        "startup_timeout_s": _short(program.startup_timeout_s),
    }
    yield from ((key, value) for key, value in plain.items() if value is not None)
    tables = {"restart": program.restart, "health": program.health}
    yield from ((key, _inline(table)) for key, table in tables.items() if table)
    if program.memory_mb is not None:
        yield "limits", _inline({"memory_mb": program.memory_mb})


def _moved(path: str, source: Path, target: Path) -> str:
    """Return a path from one folder as it is from the other, "" for that folder itself."""
    if path.startswith("$"):
        return path  # what a variable says is not ours to move
    if os.path.isabs(path) and not Path(path).is_relative_to(source):
        return os.path.normpath(path)
    moved = os.path.relpath(source / path, target)
    return "" if moved == "." else moved


def _add_profiles(document: tomlkit.TOMLDocument, profiles: Mapping[str, Sequence[str]]) -> None:
    if profiles:
        tables = tomlkit.table(is_super_table=True)
        for name, members in profiles.items():
            tables.add(name, _table([("components", _array(members))]))
        document.add("profiles", tables)


def _table(pairs: Any) -> Table:
    table = tomlkit.table()
    for key, value in pairs:
        table.add(key, value)
    return table


def _inline(values: Mapping[str, Any]) -> Any:
    table = tomlkit.inline_table()
    for key, value in values.items():
        table.add(key, _array(value) if isinstance(value, tuple) else _short(value))
    return table


def _array(values: Sequence[str]) -> Array:
    array = tomlkit.array()
    array.extend(values)
    return array.multiline(sum(len(value) + 4 for value in values) > WIDTH and len(values) > 1)


def _fits(values: Mapping[str, str]) -> bool:
    return sum(len(key) + len(value) + 8 for key, value in values.items()) <= _INLINE_CHARS


def _short(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _comment(container: Any, text: str) -> None:
    for line in _wrapped(text):
        container.add(tomlkit.comment(line))


def _wrapped(text: str) -> list[str]:
    import textwrap

    # A line break or another control character in a comment would end it, or not be TOML.
    shown = "".join(char if char.isprintable() else " " for char in text)
    return textwrap.wrap(shown, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _tidy(text: str) -> str:
    """Return the text with one empty line before each table, and before a comment that follows one."""
    return text.strip() + "\n"
