"""Loads the configuration: file, `.env`, environment, command line, each over the one before.

The only module of this package that reads files; the environment and the working folder come in from outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from contracts.errors import ConfigError
from contracts.specs import Settings
from control_plane.config.checks import problems_of
from control_plane.config.discovery import find_config
from control_plane.config.interpolation import Interpolation
from control_plane.config.launchers import agents_wrongly_named, with_agents
from control_plane.config.layers import Layers
from control_plane.config.locations import located
from control_plane.config.parsing import parse_file
from control_plane.config.problems import combined, dotted
from control_plane.config.validation import validate


@dataclass(frozen=True)
class Loaded:
    """Settings and where they came from.

    Attributes:
        path: the configuration file.
        project: the folder of the file; components are imported from here.
        sources: for each value that did not come from the file, its dotted key and where it came from.
        variables: those that had a part in it, from `.env` and the environment, by their names.
    """

    settings: Settings
    path: Path
    project: Path
    sources: Mapping[str, str]
    variables: Mapping[str, str]


def load(
    path: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str],
    cwd: Path,
) -> Loaded:
    """Find, read and validate the configuration.

    Args:
        path: the file; found upward from `cwd` where it is None and CTL_CONFIG is not set.
        overrides: values of the command line by dotted key, such as `app.mode`.
        environ: the process's environment.
        cwd: the working folder.

    Raises:
        ConfigError: there is no file, or something is wrong in it; everything wrong is said at once.
    """
    file = find_config(path, environ=environ, cwd=cwd)
    dotenv = _read_dotenv(file.parent / ".env")
    written = parse_file(file)
    if problems := agents_wrongly_named(written, file.name):
        raise combined(problems, file_name=file.name)
    # First of all: what else says something of a component names the agents.
    layers = Layers(with_agents(written))
    layers.put_environment(dotenv, origin=".env")
    layers.put_environment(environ, origin="environment")
    layers.put_command_line(overrides or {})
    filling = Interpolation({**dotenv, **environ}, file_name=file.name, literal=layers.sources)
    tree = filling.fill(layers.tree)
    if problems := [*layers.problems, *filling.problems]:
        raise combined(problems, file_name=file.name)
    settings = located(validate(tree, sources=layers.sources, file_name=file.name), file.parent)
    if problems := [*problems_of(settings, file_name=file.name), *_not_there(settings, file.name)]:
        raise combined(problems, file_name=file.name)
    sources = {dotted(key): source for key, source in layers.sources.items()}
    return Loaded(
        settings=settings,
        path=file,
        project=file.parent,
        sources=sources,
        variables={**layers.variables, **filling.used},
    )


def _not_there(settings: Settings, file_name: str) -> Iterator[ConfigError]:
    for name, spec in settings.components.items():
        folders = [("cwd", spec.cwd), *(("pythonpath", folder) for folder in spec.pythonpath)]
        wrong = [(key, folder, "a folder") for key, folder in folders if folder and not Path(folder).is_dir()]
        if spec.env_file and not Path(spec.env_file).is_file():
            wrong.append(("env_file", spec.env_file, "a file"))
        for key, path, expected in wrong:
            what = f"{file_name}: components.{name}.{key} is '{path}'"
            yield ConfigError(what, why=f"Expected {expected} that is there", code="E1003")


def _read_dotenv(path: Path) -> dict[str, str]:
    # Taken as written: `${NAME}` is for the configuration file, and has one meaning there.
    try:
        values = dotenv_values(path, interpolate=False) if path.is_file() else {}
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else f"It is no UTF-8: {exc}"
        raise ConfigError(f"cannot read {path}", why=why or str(exc), code="E1002") from exc
    return {name: value for name, value in values.items() if value is not None}
