"""One component for each agent of a launcher object, out of the one table that names them all.

`agents = ["director", "writer"]` in the table of a launcher stands for a table each, in this order, with
everything else that is said there. A table of an agent's own says what is different for it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from contracts.errors import ConfigError
from contracts.specs import GATEWAY
from control_plane.config.parsing import Tree

_AGENTS = "agents"
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_-]+")


def with_agents(tree: Tree) -> Tree:
    """Return the configuration with each table of a launcher's agents replaced by theirs.

    They are one group by default, of the launcher's name: so that all of them can be named at once, in
    profiles and dependencies too.
    """
    components = tables_of(tree)
    crews = {
        name: [component_name(agent) for agent in _agents_of(table)] for name, table in components.items()
    }
    if not any(crews.values()):
        return tree
    expanded: dict[str, Any] = {}
    for name, table in components.items():
        if not crews[name] and (_runs_by_itself(table) or not any(name in crew for crew in crews.values())):
            expanded[name] = table
        for agent, called in zip(_agents_of(table), crews[name], strict=True):
            shared = {"group": name, **{key: value for key, value in table.items() if key != _AGENTS}}
            own = components.get(called, {}) if called != name else {}
            expanded[called] = {**shared, "agent": agent, **own} if isinstance(own, dict) else own
    named = {name: _naming(table, "depends_on", crews) for name, table in expanded.items()}
    profiles = tree.get("profiles")
    if isinstance(profiles, dict):
        profiles = {name: _naming(profile, "components", crews) for name, profile in profiles.items()}
        return {**tree, "components": named, "profiles": profiles}
    return {**tree, "components": named}


def agents_wrongly_named(tree: Tree, file_name: str) -> list[ConfigError]:
    """Return which components would be declared twice, once by an agent's name, or would be no agents."""
    components = tables_of(tree)
    declared: dict[str, list[str]] = {GATEWAY: ["the gateway itself"]}
    problems = []
    for name, table in components.items():
        if _runs_by_itself(table) and name != GATEWAY:
            declared.setdefault(name, []).append(f"components.{name}")
        for agent in _agents_of(table):
            declared.setdefault(component_name(agent), []).append(f"components.{name}.{_AGENTS}")
        if _agents_of(table) and ("agent" in table or not _runs(table)):
            problems.append(
                ConfigError(
                    f"{file_name}: components.{name}.{_AGENTS} is for the table of a launcher",
                    why="It has `agent` too" if "agent" in table else "It has no `use`",
                    fix="Say `use` and `agents` there, and what is different for one agent in its own table",
                    code="E1003",
                )
            )
    return problems + [
        ConfigError(
            f"{file_name}: component '{name}' is declared by {' and by '.join(places)}",
            why="An agent of a launcher is a component of its own, of its own name",
            fix="Take one of them out, or give the agent a table of another name, with `agent`",
            code="E1003",
        )
        for name, places in declared.items()
        if len(places) > 1
    ]


def tables_of(tree: Tree) -> dict[str, Any]:
    """Return the tables of components, as far as they are some."""
    components = tree.get("components")
    return components if isinstance(components, dict) else {}


def component_name(agent: str) -> str:
    """Return the name of an agent's component: in small letters, and with `_` for what names do not have."""
    return _NOT_IN_NAMES.sub("_", agent.lower())


def _agents_of(table: Any) -> list[str]:
    agents = table.get(_AGENTS) if isinstance(table, dict) else None
    told = isinstance(agents, list | tuple) and all(isinstance(name, str) for name in agents)
    return list(agents) if told and agents else []


def _runs(table: Any) -> bool:
    return isinstance(table, dict) and not {"use", "command"}.isdisjoint(table)


def _runs_by_itself(table: Any) -> bool:
    return _runs(table) and not _agents_of(table)


def _naming(table: Any, key: str, crews: Mapping[str, list[str]]) -> Any:
    """Return a table in whose list a launcher stands for its agents."""
    named = table.get(key) if isinstance(table, dict) else None
    if not isinstance(named, list | tuple):
        return table
    each = [crews.get(name) or [name] if isinstance(name, str) else [name] for name in named]
    return {**table, key: list(dict.fromkeys(itertools.chain.from_iterable(each)))}
