"""What no single value shows: names that lead nowhere, cycles, double claims, contradictions.

Pure; each check returns what it found.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from itertools import combinations, product

from contracts.errors import ConfigError, did_you_mean
from contracts.specs import GATEWAY, LOCALHOST, PORT_PLACE, ComponentSpec, Mode, Settings
from control_plane.config.problems import unknown_component
from control_plane.core.graph import find_cycle
from control_plane.core.placement import ISOLATED

EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
RESERVED_PREFIX = "/-"  # the gateway's own pages: /-/health, /-/ready, /-/status


def problems_of(settings: Settings, *, file_name: str) -> list[ConfigError]:
    """Return everything that is wrong between the values of the settings."""
    return [
        *_unknown_names(settings, file_name),
        *_cycles(settings),
        *_double_prefixes(settings),
        *_reserved_prefixes(settings),
        *_contradictions(settings),
        *_double_ports(settings),
        *_programs(settings),
        *_odd_groups(settings),
        *_double_aliases(settings),
    ]


def _unknown_names(settings: Settings, file_name: str) -> Iterator[ConfigError]:
    named = [(f"components.{name}.depends_on", spec.depends_on) for name, spec in settings.components.items()]
    named += [(f"profiles.{name}.components", spec.components) for name, spec in settings.profiles.items()]
    for where, names in named:
        for name in names:
            if name not in settings.components:
                yield unknown_component(name, settings.components, where=f"{where} ({file_name})")


def _cycles(settings: Settings) -> Iterator[ConfigError]:
    cycle = find_cycle({name: spec.depends_on for name, spec in settings.components.items()})
    if cycle:
        yield ConfigError(
            f"dependency cycle: {' -> '.join(cycle)}",
            why="Each would wait for the next to be ready, and none could start",
            fix=f"Take one link out, such as '{cycle[1]}' out of components.{cycle[0]}.depends_on",
            code="E1004",
        )


def _double_prefixes(settings: Settings) -> Iterator[ConfigError]:
    owners: dict[str, str] = {}
    for name, spec in settings.components.items():
        if name == GATEWAY:  # it hands on what is below any prefix, "/" too
            continue
        owner = owners.setdefault(spec.address, name)
        if owner != name:
            yield ConfigError(
                f"prefix '{spec.address}' is claimed by '{owner}' and by '{name}'",
                why="One prefix leads to one component",
                fix=f"Give components.{name}.prefix another path",
                code="E1005",
            )


def _reserved_prefixes(settings: Settings) -> Iterator[ConfigError]:
    for name, spec in settings.components.items():
        if f"{spec.address}/".startswith(f"{RESERVED_PREFIX}/"):
            yield ConfigError(
                f"prefix '{spec.prefix}' is claimed by '{name}' and by the gateway's own pages",
                why=f"{RESERVED_PREFIX}/health and others are there",
                fix=f"Give components.{name}.prefix another path",
                code="E1005",
            )


def _contradictions(settings: Settings) -> Iterator[ConfigError]:
    mode = settings.app.mode
    if mode in (Mode.MULTI, Mode.HYBRID) and settings.bus.url == "memory://":
        yield _contradiction(
            f"app.mode is '{mode}' and bus.url is 'memory://'",
            why="A bus in memory reaches one process only",
            fix="Leave bus.url at 'auto' for an embedded Valkey, give a redis:// URL, or use mode 'single'",
        )
    for name, spec in settings.components.items():
        if spec.restart.backoff_s > spec.restart.backoff_max_s:
            yield _contradiction(
                f"components.{name}.restart: backoff_s is {spec.restart.backoff_s:g} "
                f"and backoff_max_s is {spec.restart.backoff_max_s:g}",
                why="The first delay cannot be longer than the longest",
                fix="Raise backoff_max_s, or lower backoff_s",
            )


def _double_ports(settings: Settings) -> Iterator[ConfigError]:
    """Yield ports that two of us would listen at; what programs do to each other is theirs to know."""
    gateway, control, components = settings.gateway, settings.control, settings.components
    if (odd := components.get(GATEWAY)) and odd.port is not None:
        yield _contradiction(
            "components.gateway.port is for other components",
            why="The gateway listens at gateway.port, and for each component that has a port of its own",
            fix="Set gateway.port",
        )
    ours = {"gateway.port": (gateway.host, gateway.port), "control.port": (control.host, control.port)}
    for port in settings.listeners:
        name = next(name for name, spec in components.items() if spec.listener == port)
        ours[f"components.{name}.port"] = (gateway.host, port)
    programs = {
        f"components.{name}.port": (LOCALHOST, spec.port)
        for name, spec in components.items()
        if spec.command and spec.port
    }
    for first, second in (*combinations(ours, 2), *product(ours, programs)):
        (host, port), (other_host, other_port) = ours[first], {**ours, **programs}[second]
        if port == other_port != 0 and (host == other_host or EVERYWHERE & {host, other_host}):
            yield _contradiction(
                f"{first} and {second} are both {port}",
                why="Two servers cannot listen on one address",
                fix="Change one, or set gateway.port or control.port to 0 for any free port",
            )


# What means something for one of the two only.
_FOR_PROGRAMS = ("stop_signal", "pty")
_FOR_CODE = ("kind", "factory", "run", "stop", "ready", "agent", "agents", "adopt_bus", "pythonpath")


def _programs(settings: Settings) -> Iterator[ConfigError]:
    for name, spec in settings.components.items():
        if bool(spec.use) == bool(spec.command):
            yield _contradiction(
                f"components.{name} has {'both' if spec.use else 'neither'} `use` and `command`",
                why="A component is Python code or a program",
                fix="Leave one of them" if spec.use else "Give it one of them",
            )
            continue
        odd = _FOR_PROGRAMS if spec.use else _FOR_CODE
        given = [key for key in odd if getattr(spec, key) != ComponentSpec.model_fields[key].default]
        if given:
            what, other = ("a program", "Python code") if spec.use else ("Python code", "a program")
            yield _contradiction(
                f"components.{name}.{given[0]} is for {what}, and this component is {other}",
                why=f"It has `{'use' if spec.use else 'command'}`",
                fix="Take the line out",
            )
        yield from _program(name, spec) if spec.command else _no_program(name, spec)


def _program(name: str, spec: ComponentSpec) -> Iterator[ConfigError]:
    if spec.stop_signal not in signal.Signals.__members__:
        yield _contradiction(
            f"components.{name}.stop_signal is '{spec.stop_signal}'",
            why=did_you_mean(spec.stop_signal, signal.Signals.__members__),
            fix="Name a signal of this machine",
        )
    try:
        re.compile(spec.health.log)
    except re.error as exc:
        yield _contradiction(
            f"components.{name}.health.log is no regular expression: '{spec.health.log}'",
            why=str(exc).capitalize(),
            fix=r"Put a backslash before what is meant as it stands, such as \(",
        )
    if spec.port is None and any(PORT_PLACE in word for word in (*spec.command, *spec.health.exec)):
        yield _contradiction(
            f"components.{name}.command has {PORT_PLACE}, and there is no port",
            why="It stands for the component's `port`",
            fix="Set `port = 0` for any free one",
        )
    if spec.port and spec.replicas > 1:
        yield _contradiction(
            f"components.{name} has port {spec.port} and {spec.replicas} replicas",
            why="Two programs cannot listen on one port",
            fix=f"Set `port = 0`, and hand it on as `{PORT_PLACE}` or PORT",
        )


def _no_program(name: str, spec: ComponentSpec) -> Iterator[ConfigError]:
    if spec.port == 0 or (spec.port and spec.host):
        yield _contradiction(
            f"components.{name} has port 0" if spec.port == 0 else f"components.{name} has `port` and `host`",
            why="A listener of its own is found by its number"
            if spec.port == 0
            else "It is served at a listener of its own, or at a virtual host",
            fix="Name a port" if spec.port == 0 else "Leave one of them",
        )
    for key in ("exec", "log"):
        if getattr(spec.health, key):
            yield _contradiction(
                f"components.{name}.health.{key} is for a program, and this component is Python code",
                why="It has `use`",
                fix="Take it out; `health.path` is for an application",
            )


def _odd_groups(settings: Settings) -> Iterator[ConfigError]:
    used = {spec.group for spec in settings.components.values() if spec.group}
    for name in sorted(settings.groups.keys() - used):
        yield _contradiction(
            f"groups.{name} is declared, and no component has this group",
            why=did_you_mean(name, used),
            fix=f'Set `group = "{name}"` in the components that belong to it, or take it out',
        )
    if ISOLATED in used:
        yield _contradiction(
            f"a group is called '{ISOLATED}'",
            why=f"`ctl move NAME --to {ISOLATED}` means a process of its own",
            fix="Give the group another name",
        )


def _double_aliases(settings: Settings) -> Iterator[ConfigError]:
    owners = {name: name for name in settings.components}
    for name, spec in settings.components.items():
        for alias in spec.aliases:
            owner = owners.setdefault(alias, name)
            if owner != name or alias == name:
                yield _contradiction(
                    f"components.{name}.aliases has '{alias}', which is '{owner}' already",
                    why="One name means one component",
                    fix="Take it out",
                )


def _contradiction(what: str, *, why: str, fix: str) -> ConfigError:
    return ConfigError(what, why=why, fix=fix, code="E1010")
