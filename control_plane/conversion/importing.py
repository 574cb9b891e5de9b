"""Reads a file of another tool and returns the text of the `ctl.toml` that stands for it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from control_plane.config.checks import problems_of
from control_plane.config.interpolation import Interpolation
from control_plane.config.problems import combined
from control_plane.config.validation import validate
from control_plane.conversion.model import Imported, Program, not_carried_over
from control_plane.conversion.naming import valid

# The module that reads each format, and its function.
READERS = {
    "procfile": ("procfile", "read"),
    "compose": ("compose", "read"),
    "honcho": ("procfile", "read_with_dotenv"),
    "supervisord": ("supervisord", "read"),
    "pm2": ("pm2", "read"),
}


@dataclass(frozen=True)
class Converted:
    """The text, and what its writer says of it."""

    text: str
    components: tuple[str, ...]
    not_carried_over: tuple[str, ...]


def convert(kind: str, source: Path, *, target: Path) -> Converted:
    """Return what a file of this kind is as a `ctl.toml` in the folder `target`.

    Raises:
        ConfigError: it cannot be read, something is wrong in it, or it says what Coplane refuses.
    """
    from control_plane.conversion.toml import to_toml

    module, function = READERS[kind]
    read: Callable[[Path], Imported] = getattr(import_module(f"control_plane.conversion.{module}"), function)
    folder = source.absolute().parent
    imported = _with_what_is_there(read(source), folder)
    text = to_toml(
        imported, origin=source.name, app=valid(folder.name), source=folder, target=target.absolute()
    )
    _check(text, file_name=f"{source.name}, as ctl.toml")
    return Converted(
        text, tuple(program.name for program in imported.programs), tuple(_not_carried_over(imported))
    )


def _with_what_is_there(imported: Imported, folder: Path) -> Imported:
    """Leave out folders and files that are not there, for which the configuration would be refused."""
    return replace(imported, programs=tuple(_located(program, folder) for program in imported.programs))


def _located(program: Program, folder: Path) -> Program:
    if _is_missing(program.cwd, folder, Path.is_dir):
        program = replace(program, cwd="", remarks=(*program.remarks, _missing("cwd", program.cwd)))
    if _is_missing(program.env_file, folder, Path.is_file):
        remarks = (*program.remarks, _missing("env_file", program.env_file))
        program = replace(program, env_file="", remarks=remarks)
    return program


def _is_missing(path: str, folder: Path, exists: Callable[[Path], bool]) -> bool:
    has_variable = re.search(r"(?<!\$)\$\{", path)  # what that says is known to whoever launches
    return bool(path) and not has_variable and not exists(folder / path.replace("$${", "${"))


def _missing(key: str, path: str) -> str:
    return not_carried_over(f'{key} = "{path}"', "it is not there; write this line once it is")


def _not_carried_over(imported: Imported) -> list[str]:
    remarks = [*imported.remarks, *(text for program in imported.programs for text in program.remarks)]
    return [text for text in (*remarks, *imported.left_out) if text.startswith("not carried over")]


def _check(text: str, *, file_name: str) -> None:
    filling = Interpolation(_AnyVariable(), file_name=file_name)
    tree = filling.fill(tomllib.loads(text))
    if filling.problems:
        raise combined(filling.problems, file_name=file_name)
    if problems := problems_of(validate(tree, sources={}, file_name=file_name), file_name=file_name):
        raise combined(problems, file_name=file_name)


class _AnyVariable(dict[str, str]):
    """Variables of a machine that is not this one: each is set, to what a number may be too."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value for any name."""
        return "1"
