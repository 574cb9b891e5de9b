"""Puts overrides on top of what the file says, and remembers where each came from.

Lowest first: `.env`, the environment (both as `CTL_SECTION__KEY`), the command line (dotted keys).
A variable without `__` (`CTL_HOME`, `CTL_CONFIG`) is no setting.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date, time
from typing import Any

from contracts.errors import ConfigError, did_you_mean
from contracts.specs import GATEWAY, Settings
from control_plane.config.parsing import Tree
from control_plane.config.problems import KeyPath, unknown_component

COMMAND_LINE = "command line"
_PREFIX = "CTL_"
# A setting that is changed in a hurry has a shorter variable as well.
_SHORT = {"CTL_LAUNCHER": ["APP", "LAUNCHER"]}


class Layers:
    """A tree, the overrides put on it so far, the variables that held some, and what was wrong with them."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.sources: dict[KeyPath, str] = {}
        self.variables: dict[str, str] = {}
        self.problems: list[ConfigError] = []

    def put_environment(self, variables: Mapping[str, str], *, origin: str) -> None:
        """Put on every `CTL_SECTION__KEY` among the variables; `origin` names where they stand."""
        for name in sorted(variables):
            keys = _SHORT.get(name) or name.removeprefix(_PREFIX).split("__")
            if name.startswith(_PREFIX) and len(keys) > 1:
                path = self._resolve(keys)
                # What goes to a process as its environment is text, whatever it looks like.
                is_env = path[0] == "components" and path[2:3] == ("env",)
                value = variables[name] if is_env else parse_value(variables[name])
                self._put(path, value, source=f"{origin} {name}")
                self.variables[name] = variables[name]

    def put_command_line(self, overrides: Mapping[str, Any]) -> None:
        """Put on dotted keys, such as `app.mode`."""
        for key, value in overrides.items():
            self._put(tuple(key.split(".")), value, source=COMMAND_LINE)

    def _put(self, path: tuple[str, ...], value: Any, *, source: str) -> None:
        problem = self._refusal(path, source)
        if problem is not None:
            self.problems.append(problem)
            return
        node = self.tree
        for key in path[:-1]:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[path[-1]] = value
        self.sources[path] = source

    def _refusal(self, path: tuple[str, ...], source: str) -> ConfigError | None:
        if path[0] not in Settings.model_fields:
            return ConfigError(
                f"{source}: unknown section '{path[0]}'",
                why=did_you_mean(path[0], Settings.model_fields),
                code="E1003",
            )
        declared = self.tree.get("components")
        known = {GATEWAY, *(declared if isinstance(declared, dict) else ())}
        if path[0] == "components" and len(path) > 1 and path[1] not in known:
            return unknown_component(path[1], known, where=source)
        return None

    def _resolve(self, keys: list[str]) -> tuple[str, ...]:
        """Match a variable's parts to keys that are there: upper case stands for lower, `_` for `-`."""
        path: list[str] = []
        node: Any = self.tree
        for key in keys:
            siblings = node if isinstance(node, dict) else {}
            # Names of variables differ by case, so a new one below `env` is taken as it stands.
            fresh = key if path[:1] == ["components"] and path[2:3] == ["env"] else key.lower()
            found = next((name for name in siblings if _folded(name) == _folded(key)), fresh)
            path.append(found)
            node = siblings.get(found)
        return tuple(path)


def parse_value(text: str) -> Any:
    """Read an environment variable as a TOML value, else as the text it is."""
    try:
        tree = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = tree["value"]
    # More than one key: the text had a line break in it. Dates: no setting is one.
    return text if len(tree) > 1 or isinstance(value, date | time) else value


def _folded(key: str) -> str:
    return key.lower().replace("-", "_")
