"""What components that share a process cannot have differently: environment, working folder, one instance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from contracts.errors import ConfigError
from contracts.specs import ComponentSpec, Mode, Settings
from control_plane.core.placement import host_key, replica_ids
from control_plane.runtime.environment import declared

_FIX = "Give one of them a process of its own: no group in hybrid mode, or `--mode multi`"


def check_sharing(settings: Settings, mode: Mode) -> None:
    """Refuse what cannot share a process and would have to.

    Raises:
        ConfigError: two components want different things of one process, or an `exclusive` one would be in
            it twice (E1011).
    """
    hosts: defaultdict[str, list[ComponentSpec]] = defaultdict(list)
    for spec in settings.components.values():
        for replica in replica_ids(spec.name, spec.replicas):
            if not spec.command:
                hosts[host_key(mode, spec, replica)].append(spec)
    for shared in hosts.values():
        for error in (*_twice(shared), *_folders(shared), *_modules(shared), *_variables(shared)):
            raise error


def _twice(specs: Sequence[ComponentSpec]) -> Iterator[ConfigError]:
    for spec in specs:
        if spec.exclusive and sum(other.name == spec.name for other in specs) > 1:
            yield ConfigError(
                f"component '{spec.name}' is exclusive, and its replicas would share a process",
                why="Its code bears no second instance of itself in one process",
                fix="Set `replicas = 1`, or give each a process of its own with `--mode multi`",
                code="E1011",
            )


def _folders(specs: Sequence[ComponentSpec]) -> Iterator[ConfigError]:
    owners = {spec.cwd: spec.name for spec in specs if spec.cwd}
    if len(owners) > 1:
        names = " and ".join(f"'{name}'" for name in list(owners.values())[:2])
        yield ConfigError(
            f"components {names} want different working folders, and share a process",
            why=f"Their `cwd` is {' and '.join(list(owners)[:2])}",
            fix=_FIX,
            code="E1011",
        )


def _modules(specs: Sequence[ComponentSpec]) -> Iterator[ConfigError]:
    found: dict[str, ComponentSpec] = {}
    for spec in specs:
        package = spec.use.partition(":")[0].partition(".")[0]
        before = found.setdefault(package, spec)
        if before.pythonpath != spec.pythonpath:
            yield ConfigError(
                f"components '{before.name}' and '{spec.name}' want different packages that are called "
                f"'{package}', and share a process",
                why="Their `pythonpath` is not the same, and a process has one module of a name",
                fix=_FIX,
                code="E1011",
            )


def _variables(specs: Sequence[ComponentSpec]) -> Iterator[ConfigError]:
    taken: dict[str, tuple[str, str]] = {}
    for spec in specs:
        for variable, value in declared(spec).items():
            owner, before = taken.setdefault(variable, (spec.name, value))
            if value != before:
                # Not the values: they may be secrets.
                yield ConfigError(
                    f"components '{owner}' and '{spec.name}' want different values of {variable}, "
                    "and share a process",
                    why="A process has one environment",
                    fix=_FIX,
                    code="E1011",
                )
