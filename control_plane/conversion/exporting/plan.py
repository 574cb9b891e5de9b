"""Says which processes a configuration comes down to where another tool starts them.

Pure, but for reading the files that `env_file` names: no two tools read those alike.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from contracts.errors import ConfigError
from contracts.specs import GATEWAY, PORT_PLACE, ComponentSpec
from control_plane.config import Loaded
from control_plane.runtime.environment import declared

FILLED = "Variables were filled in as they were when this was written."


FIRST_PORT = 5000  # for programs that Coplane would give any free port, as foreman counts
PORT_STEP = 100


@dataclass(frozen=True)
class Process:
    """One component, or one replica of it, as the other tool is to run it.

    Attributes:
        name: the component's, with a number behind it where its replicas have ports of their own.
        words: the program and its arguments.
        env: the variables it is started with; a program is told its port by one.
        port: the one that it is told to answer at.
        copies: how many of it are to run.
        hosted: it is Python code, run by `ctl host`.
        depends_on: the names of those among the processes that it waits for.
    """

    name: str
    spec: ComponentSpec
    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    copies: int = 1
    hosted: bool = False
    depends_on: tuple[str, ...] = ()


def processes(loaded: Loaded, *, ctl: tuple[str, ...] = ("ctl",)) -> list[Process]:
    """Return the processes, the gateway only where there is Python code for it to lead to.

    Args:
        ctl: the words that run `ctl`.

    Raises:
        ConfigError: a file that `env_file` names cannot be read (E1002, E1006).
    """
    components = loaded.settings.components
    if [name for name, spec in components.items() if not spec.command] == [GATEWAY]:
        components = {name: spec for name, spec in components.items() if name != GATEWAY}
    made: dict[str, list[Process]] = {}
    taken = set(components)
    for index, (name, spec) in enumerate(components.items()):
        first_port = FIRST_PORT + PORT_STEP * index
        made[name] = list(_programs(spec, first_port, taken)) if spec.command else [_host(loaded, spec, ctl)]
    return [
        replace(process, depends_on=_names(made, process.spec.depends_on))
        for processes in made.values()
        for process in processes
    ]


def _host(loaded: Loaded, spec: ComponentSpec, ctl: tuple[str, ...]) -> Process:
    copies = 1 if spec.name == GATEWAY else spec.replicas  # one address has one gateway
    # It loads the configuration again, and finds the component's own variables there.
    env = loaded.variables
    return Process(spec.name, spec, (*ctl, "host", spec.name), env, copies=copies, hosted=True)


def _programs(spec: ComponentSpec, first_port: int, taken: set[str]) -> Iterator[Process]:
    if spec.port != 0:
        yield _program(spec, spec.name, spec.port, copies=spec.replicas)
        return
    for index in range(spec.replicas):
        name = spec.name if index == 0 else unique(f"{spec.name}-{index + 1}", taken)
        yield _program(spec, name, first_port + index)


def _program(spec: ComponentSpec, name: str, port: int | None, *, copies: int = 1) -> Process:
    if port is None:
        return Process(name, spec, spec.command, _declared(spec), copies=copies)
    words = tuple(word.replace(PORT_PLACE, str(port)) for word in spec.command)
    return Process(name, spec, words, {"PORT": str(port), **_declared(spec)}, port, copies=copies)


def _declared(spec: ComponentSpec) -> Mapping[str, str]:
    try:
        return declared(spec)
    except OSError as exc:
        raise ConfigError(f"cannot read {spec.env_file}", why=exc.strerror or str(exc), code="E1006") from exc
    except UnicodeDecodeError as exc:
        why = f"Byte {exc.start}: {exc.reason}"
        raise ConfigError(f"{spec.env_file} is not UTF-8 text", why=why, code="E1002") from exc


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


def decimal(number: float) -> str:
    """Return a number as every tool reads it, to the millionth: `1000000` and never `1e+06`."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


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
