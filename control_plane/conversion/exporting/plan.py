"""Says which processes a configuration comes down to where another tool starts them. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from contracts.errors import ConfigError
from contracts.specs import GATEWAY, ComponentSpec
from control_plane.config import Loaded

FILLED = "Variables were filled in as they were when this was written."


FIRST_PORT = 5000  # for programs that Coplane would give any free port, as foreman counts
PORT_STEP = 100
PORT = "{port}"


@dataclass(frozen=True)
class Process:
    """One component, or one replica of it, as the other tool is to run it.

    Attributes:
        name: the component's, with a number behind it where its replicas have ports of their own.
        words: the program and its arguments.
        port: the one that it is told to answer at.
        copies: how many of it are to run.
        hosted: it is Python code, run by `ctl host`.
        depends_on: the names of those among the processes that it waits for.
    """

    name: str
    spec: ComponentSpec
    words: tuple[str, ...]
    port: int | None = None
    copies: int = 1
    hosted: bool = False
    depends_on: tuple[str, ...] = ()

    @property
    def env(self) -> Mapping[str, str]:
        """Return the variables it is started with; a program is told its port by one."""
        port = {"PORT": str(self.port)} if self.port else {}
        return {**port, **self.spec.env}


def processes(loaded: Loaded, *, ctl: tuple[str, ...] = ("ctl",)) -> list[Process]:
    """Return the processes, the gateway only where there is Python code for it to lead to.

    Args:
        ctl: the words that run `ctl`.
    """
    components = loaded.settings.components
    if [name for name, spec in components.items() if not spec.command] == [GATEWAY]:
        components = {name: spec for name, spec in components.items() if name != GATEWAY}
    made: dict[str, list[Process]] = {}
    taken = set(components)
    for index, (name, spec) in enumerate(components.items()):
        first_port = FIRST_PORT + PORT_STEP * index
        made[name] = list(_programs(spec, first_port, taken)) if spec.command else [_host(spec, ctl)]
    return [
        replace(process, depends_on=_names(made, process.spec.depends_on))
        for processes in made.values()
        for process in processes
    ]


def _host(spec: ComponentSpec, ctl: tuple[str, ...]) -> Process:
    copies = 1 if spec.name == GATEWAY else spec.replicas  # one address has one gateway
    return Process(spec.name, spec, (*ctl, "host", spec.name), copies=copies, hosted=True)


def _programs(spec: ComponentSpec, first_port: int, taken: set[str]) -> Iterator[Process]:
    if spec.port != 0:
        yield Process(spec.name, spec, _with_port(spec, spec.port), spec.port, copies=spec.replicas)
        return
    for index in range(spec.replicas):
        name = spec.name if index == 0 else unique(f"{spec.name}-{index + 1}", taken)
        yield Process(name, spec, _with_port(spec, first_port + index), first_port + index)


def _with_port(spec: ComponentSpec, port: int | None) -> tuple[str, ...]:
    return tuple(word.replace(PORT, str(port)) for word in spec.command) if port else spec.command


def _names(made: Mapping[str, list[Process]], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(process.name for name in wanted if name in made for process in made[name])


def require_bus(loaded: Loaded, planned: list[Process]) -> None:
    """Refuse to write hosts that nothing connects.

    Raises:
        ConfigError: there are hosts, and the bus is in memory or a launch's own (E1010).
    """
    hosted = [process.name for process in planned if process.hosted]
    if hosted and loaded.settings.bus.url in ("auto", "memory://"):
        raise ConfigError(
            f"bus.url is '{loaded.settings.bus.url}', and `ctl host` would have no bus to share",
            why=f"It runs {', '.join(hosted)} in processes that no launch starts",
            fix='Set [bus] url to that of a server, such as "redis://127.0.0.1:6379/0", and export again',
            code="E1010",
        )


def unique(name: str, taken: set[str]) -> str:
    """Return the name, with something behind it where it is taken; it is taken then."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    taken.add(found)
    return found


def refuse_line_breaks(process: Process, *, language: str) -> None:
    """Refuse what a file of one line a thing cannot hold.

    Raises:
        ConfigError: there is a line break in a command or a variable (E1010).
    """
    texts = {"command": " ".join(process.words), **{f"env.{k}": v for k, v in process.env.items()}}
    for key, text in texts.items():
        if "\n" in text or "\r" in text:
            raise ConfigError(
                f"components.{process.name}.{key} has a line break, which {language} cannot hold",
                fix="Put it into a script, or a file of its own",
                code="E1010",
            )


def not_said(process: Process, *, restarts: bool, health: bool) -> Iterator[str]:
    """Yield what of a component the other format does not say; `restarts` and `health` it does."""
    spec, defaults = process.spec, ComponentSpec.model_fields
    keys = [] if restarts else ["restart", "grace_period_s"]
    keys += [] if health else ["health", "limits", "startup_timeout_s", "stop_signal", "depends_on"]
    given = [key for key in (*keys, "pty") if getattr(spec, key) != defaults[key].default]
    if given:
        yield f"{process.name}: not carried over: {', '.join(given)}"
    if process.port:
        yield f"{process.name} answers at its own port {process.port}; no gateway leads to it"


def from_folder(path: str, folder: Path, target: Path) -> str:
    """Return a path of the project in `folder` as it is from `target`, and whole what leads elsewhere."""
    whole = Path(os.path.normpath(folder / path))
    return os.path.relpath(whole, target) if whole.is_relative_to(folder) else str(whole)
