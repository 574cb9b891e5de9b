"""One component for each agent of a launcher object, out of the one table that names them all.

`agents = ["director", "writer"]` in the table of a launcher stands for a table each, in this order, with
everything else that is said there. A table of an agent's own says what is different for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from contracts.errors import ConfigError

_AGENTS = "agents"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


def with_agents(components: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of components with each table of a launcher's agents replaced by theirs.

    They are one group by default, of the launcher's name: so that all of them can be named at once.
    """
    agents = {component_name(agent) for table in components.values() for agent in _agents_of(table)}
    expanded: dict[str, Any] = {}
    for name, table in components.items():
        if not _agents_of(table) and (name not in agents or _runs_by_itself(table)):
            expanded[name] = table
        for agent in _agents_of(table):
            shared = {"group": name, **{key: value for key, value in table.items() if key != _AGENTS}}
            called = component_name(agent)
            own = components.get(called, {}) if called != name else {}
            expanded[called] = {**shared, "agent": agent, **own} if isinstance(own, dict) else own
    return expanded


def agents_named_twice(components: Mapping[str, Any], file_name: str) -> list[ConfigError]:
    """Return which components would be declared twice, once by an agent's name."""
    declared: dict[str, list[str]] = {}
    for name, table in components.items():
        if _runs_by_itself(table):
            declared.setdefault(name, []).append(f"components.{name}")
        for agent in _agents_of(table):
            declared.setdefault(component_name(agent), []).append(f"components.{name}.{_AGENTS}")
    return [
        ConfigError(
            f"{file_name}: component '{name}' is declared by {' and by '.join(places)}",
            why="An agent of a launcher is a component of its own, of its own name",
            fix="Take one of them out, or give the agent a table of another name, with `agent`",
            code="E1003",
        )
        for name, places in declared.items()
        if len(places) > 1
    ]


def component_name(agent: str) -> str:
    """Return the name of an agent's component: in small letters, and with `_` for what names do not have."""
    return _NOT_IN_NAMES.sub("_", agent.lower())


def _agents_of(table: Any) -> list[str]:
    agents = table.get(_AGENTS) if isinstance(table, dict) else None
    told = isinstance(agents, list | tuple) and all(isinstance(name, str) for name in agents)
    return list(agents) if told and agents else []


def _runs_by_itself(table: Any) -> bool:
    return isinstance(table, dict) and not _agents_of(table) and not {"use", "command"}.isdisjoint(table)
