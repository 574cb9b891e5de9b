"""Makes `Settings` of a tree, or says everything that is wrong with it.

Every message gives the path as the user writes it, what was given, and what is expected there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from contracts.errors import ConfigError, did_you_mean
from contracts.specs import GATEWAY, Settings
from control_plane.config.expectations import expected_at, keys_at
from control_plane.config.launchers import tables_of
from control_plane.config.parsing import Tree
from control_plane.config.problems import KeyPath, combined, dotted, show

GATEWAY_USE = "components.gateway:Gateway"
GATEWAY_PREFIX = "/"


def validate(tree: Tree, *, sources: Mapping[KeyPath, str], file_name: str) -> Settings:
    """Return the settings the tree holds, the gateway and default prefixes added.

    Raises:
        ConfigError: a value is wrong or a key unknown (E1003).
    """
    problems = [*_names_given_twice(tree, file_name), *_nothing_to_run(tree, file_name)]
    try:
        settings = Settings.model_validate(_completed(tree))
    except ValidationError as exc:
        origin = _Origin(sources, file_name)
        found = [_problem(error, origin) for error in exc.errors() if not _is_echo(error["loc"])]
        raise combined([*problems, *found], file_name=file_name) from exc
    if problems:
        raise combined(problems, file_name=file_name)
    return settings


class _Origin:
    """Knows for a path which file or variable its value came from."""

    def __init__(self, sources: Mapping[KeyPath, str], file_name: str) -> None:
        self._sources = sources
        self._file_name = file_name

    def of(self, path: KeyPath) -> str:
        above = (path[:length] for length in range(len(path), 0, -1))
        return next((self._sources[part] for part in above if part in self._sources), self._file_name)


def _names_given_twice(tree: Tree, file_name: str) -> list[ConfigError]:
    return [
        ConfigError(
            f"{file_name}: components.{name}.name is not an option",
            why=f"The component's name is that of its table, '{name}'",
            fix="Remove the line",
            code="E1003",
        )
        for name, table in tables_of(tree).items()
        if isinstance(table, dict) and "name" in table
    ]


def _nothing_to_run(tree: Tree, file_name: str) -> list[ConfigError]:
    return [
        ConfigError(
            f"{file_name}: components.{name}.use is missing",
            why=f"Expected {expected_at(('components', name, 'use'))}, or `command` with a program",
            code="E1003",
        )
        for name, table in tables_of(tree).items()
        if name != GATEWAY and isinstance(table, dict) and not {"use", "command"} & table.keys()
    ]


def _completed(tree: Tree) -> Tree:
    components = tree.get("components", {})
    if not isinstance(components, dict):
        return tree
    with_gateway = {GATEWAY: {}, **components}
    completed = {name: _completed_component(name, table) for name, table in with_gateway.items()}
    return {**tree, "components": completed}


def _completed_component(name: str, table: Any) -> Any:
    if not isinstance(table, dict):
        return table
    defaults = {"use": GATEWAY_USE} if name == GATEWAY else {}
    at_root = name == GATEWAY or table.get("host") or (table.get("port") and table.get("use"))
    prefix = table.get("prefix") or (GATEWAY_PREFIX if at_root else f"/agents/{name}")
    if isinstance(prefix, str):
        prefix = prefix.rstrip("/") or "/"
    return {**defaults, **table, "prefix": prefix, "name": name}


def _is_echo(path: tuple[int | str, ...]) -> bool:
    # A table's bad key is reported for the key itself, and again for the `name` made of it.
    return path[:1] == ("components",) and path[2:] == ("name",)


def _problem(error: Any, origin: _Origin) -> ConfigError:
    path: KeyPath = tuple(part for part in error["loc"] if part != "[key]")
    source = origin.of(path)
    if error["type"] == "extra_forbidden":
        why = did_you_mean(str(path[-1]), keys_at(path[:-1]))
        return ConfigError(f"{source}: unknown key {dotted(path)}", why=why, code="E1003")
    given = "is missing" if error["type"] == "missing" else f"is {show(error['input'], path)}"
    return ConfigError(f"{source}: {dotted(path)} {given}", why=f"Expected {_expected(error)}", code="E1003")


def _expected(error: Any) -> str:
    path: KeyPath = error["loc"]
    if path[-1] == "[key]":
        return expected_at(("app", "name"))  # every table of names has names of this form
    return expected_at(path)
