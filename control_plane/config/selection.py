"""Which components take part in a launch.

What is named (as NAME, by --only, by a profile) takes part, and everything it depends on comes along;
where nothing is named, everything does. The gateway always takes part. What is excluded never does,
not even where something depends on it: that one then starts without waiting for it. A component may be
called by an alias, and all of a group by the group's name. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set

from contracts.errors import ConfigError, did_you_mean
from contracts.specs import GATEWAY, ComponentSpec, Settings
from control_plane.config.problems import unknown_component

_LOOK = 'Run "ctl config show"'


def select(
    settings: Settings,
    *,
    names: Collection[str] = (),
    profile: str | None = None,
    only: Collection[str] = (),
    exclude: Iterable[str] = (),
) -> Settings:
    """Return the settings with only those components that take part.

    Raises:
        ConfigError: a component (E1001) or the profile (E1008) is unknown, one is both named and
            excluded, or nothing is left (E1010).
    """
    asked = (*_known(settings, names, ""), *_known(settings, only, "--only"))
    excluded = set(_known(settings, exclude, "--exclude"))
    # A group may be named, and one of it excluded.
    _refuse_both(settings.components.keys() & {*names, *only}, excluded)
    chosen = {*asked, *_members(settings, profile)} or set(settings.components)
    taking_part = _with_dependencies(
        settings, {*chosen, GATEWAY} & settings.components.keys() - excluded, excluded
    )
    if not taking_part:
        raise ConfigError("nothing is left to launch", why="Every component is excluded", code="E1010")
    kept = {
        name: _without(spec, excluded) for name, spec in settings.components.items() if name in taking_part
    }
    return settings.model_copy(update={"components": kept})


def _known(settings: Settings, names: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the components that are meant: by their names, their aliases, or those of their groups."""
    meant = _meanings(settings)
    found: list[str] = []
    for name in names:
        if name not in meant:
            raise unknown_component(name, meant, where=where, fix=_LOOK)
        found += meant[name]
    return tuple(found)


def _meanings(settings: Settings) -> dict[str, tuple[str, ...]]:
    meant: dict[str, tuple[str, ...]] = {}
    for name, spec in settings.components.items():
        if spec.group:
            meant[spec.group] = (*meant.get(spec.group, ()), name)
    for name, spec in settings.components.items():
        meant |= dict.fromkeys(spec.aliases, (name,))
    return meant | {name: (name,) for name in settings.components}


def _members(settings: Settings, profile: str | None) -> tuple[str, ...]:
    if profile is None:
        return ()
    if profile not in settings.profiles:
        raise ConfigError(
            f"unknown profile '{profile}'",
            why=did_you_mean(profile, settings.profiles),
            fix=_LOOK,
            code="E1008",
        )
    # An empty profile is a choice too: the gateway alone.
    return (GATEWAY, *settings.profiles[profile].components)


def _refuse_both(asked: Set[str], excluded: set[str]) -> None:
    both = sorted(excluded & asked)
    if both:
        raise ConfigError(
            f"'{both[0]}' is both named and excluded",
            fix="Name it, or exclude it",
            code="E1010",
        )


def _with_dependencies(settings: Settings, chosen: set[str], excluded: set[str]) -> set[str]:
    found: set[str] = set()
    waiting = set(chosen)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= set(settings.components[name].depends_on) - found - excluded
    return found


def _without(spec: ComponentSpec, excluded: set[str]) -> ComponentSpec:
    depends_on = tuple(name for name in spec.depends_on if name not in excluded)
    return spec.model_copy(update={"depends_on": depends_on})
