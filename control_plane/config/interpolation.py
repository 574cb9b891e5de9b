"""Fills `${NAME}` and `${NAME:-default}` in the strings of a tree.

The default counts where the variable is unset or empty, as in a shell. `$${` stands for `${`.
Keys are left alone, and so is whatever an override put in: only the file's own text is filled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from contracts.errors import ConfigError
from control_plane.config.problems import KeyPath, dotted

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{).)*))?", re.DOTALL)


class Interpolation:
    """One pass over a tree; gathers what is wrong in `problems`, and the variables it found in `used`."""

    def __init__(
        self, variables: Mapping[str, str], *, file_name: str, literal: Collection[KeyPath] = ()
    ) -> None:
        self.problems: list[ConfigError] = []
        self.used: dict[str, str] = {}
        self._variables = variables
        self._file_name = file_name
        self._literal = literal

    def fill(self, value: Any, path: KeyPath = ()) -> Any:
        """Return the value with every reference in it replaced."""
        if path in self._literal:
            return value
        match value:
            case str():
                return _REFERENCE.sub(lambda found: self._replace(found, path), value)
            case dict():
                return {key: self.fill(item, (*path, key)) for key, item in value.items()}
            case list():
                return [self.fill(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def _replace(self, found: re.Match[str], path: KeyPath) -> str:
        if found[0] == "$${":
            return "${"
        inside = _INSIDE.fullmatch(found[1])
        if inside is None or not found[2]:
            self._malformed(found[0], path)
            return ""
        name, default = inside.groups()
        if default is None and name not in self._variables:
            self._unset(name, path)
            return ""
        value = self._variables.get(name, "")
        if name in self._variables:
            self.used[name] = value
        return value if value or default is None else default

    def _malformed(self, text: str, path: KeyPath) -> None:
        self.problems.append(
            ConfigError(
                f"{self._file_name}: {dotted(path)} contains '{text}'",
                why="Expected ${NAME} or ${NAME:-default}, not nested",
                fix="Write $${ for a literal ${",
                code="E1003",
            )
        )

    def _unset(self, name: str, path: KeyPath) -> None:
        self.problems.append(
            ConfigError(
                f"{self._file_name}: {dotted(path)} needs the variable '{name}'",
                why="It is set neither in the environment nor in .env",
                fix=f"Set it, or give a default: ${{{name}:-default}}",
                code="E1007",
            )
        )
