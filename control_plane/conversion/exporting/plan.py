"""Says which processes a configuration comes down to where another tool starts them. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError
from contracts.specs import GATEWAY, ComponentSpec
from control_plane.config import Loaded

FILLED = "Variables were filled in as they were when this was written."


@dataclass(frozen=True)
class Process:
    """One component as the other tool is to run it.

    Attributes:
        words: the program and its arguments.
        hosted: it is Python code, run by `ctl host`.
        depends_on: the names of those among the processes that it waits for.
    """

    spec: ComponentSpec
    words: tuple[str, ...]
    hosted: bool
    depends_on: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the component's name."""
        return self.spec.name

    @property
    def copies(self) -> int:
        """Return how many of it are to run; the gateway has one address, and so one process."""
        return 1 if self.name == GATEWAY else self.spec.replicas


@dataclass(frozen=True)
class Exported:
    """The files to write, by their names below the target."""

    files: Mapping[str, str]


def processes(loaded: Loaded, *, ctl: tuple[str, ...] = ("ctl",), listen: str = "") -> list[Process]:
    """Return the processes, the gateway only where there is Python code for it to lead to.

    Args:
        ctl: the words that run `ctl`.
        listen: the gateway's `--listen`, where it is not as configured.
    """
    components = loaded.settings.components
    hosted = [name for name, spec in components.items() if not spec.command]
    if hosted == [GATEWAY]:
        components = {name: spec for name, spec in components.items() if name != GATEWAY}
    return [
        Process(
            spec,
            words=spec.command or (*ctl, "host", name, *_listen(loaded, name, listen)),
            hosted=not spec.command,
            depends_on=tuple(other for other in spec.depends_on if other in components),
        )
        for name, spec in components.items()
    ]


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
    texts = {"command": " ".join(process.words), **{f"env.{k}": v for k, v in process.spec.env.items()}}
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
    if not process.hosted and spec.port is not None:
        yield f"{process.name} answers at its own port {spec.port}; no gateway leads to it"


def from_folder(path: str, folder: Path, target: Path) -> str:
    """Return a path of the configuration in `folder` as it is from `target`."""
    return os.path.normpath(path) if os.path.isabs(path) else os.path.relpath(folder / path, target)


def _listen(loaded: Loaded, name: str, listen: str) -> tuple[str, ...]:
    if name != GATEWAY:
        return ()
    gateway = loaded.settings.gateway
    host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host or "0.0.0.0"
    return ("--listen", listen or f"tcp://{host}:{gateway.port}")
