"""What every format is read into: programs, and in words what could not be carried over.

Texts are those of a `ctl.toml`: `${NAME}` in them is a reference, and `$${` a literal `${`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Program:
    """One program, process, service or app of the other tool, under a name that is valid here.

    What is None or empty was not said by the other tool, and is left to the default.

    Attributes:
        cwd: the folder it runs in, from the folder of the file that was read.
        env_file: the same for the file with more variables.
        port: a number, or text with a reference in it.
        restart: values for `[components.NAME.restart]`, and `health` for that table.
        remarks: comments to write above it.
    """

    name: str
    command: tuple[str, ...]
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    env_file: str = ""
    port: int | str | None = None
    pty: bool = False
    replicas: int = 1
    depends_on: tuple[str, ...] = ()
    stop_signal: str = ""
    grace_period_s: float | None = None
    startup_timeout_s: float | None = None
    memory_mb: int | None = None
    restart: Mapping[str, Any] = field(default_factory=dict)
    health: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """A whole file of the other tool.

    Attributes:
        profiles: named choices of programs.
        remarks: comments about the file as a whole.
        left_out: what became no program, each with the comment that is written in its place.
    """

    programs: tuple[Program, ...]
    profiles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def not_carried_over(what: str, why: str) -> str:
    """Return the comment about something that has no place here."""
    return f"not carried over: {what} ({why})"


def escaped(text: str) -> str:
    """Return a text as it must be written where `${` is meant as it stands."""
    return text.replace("${", "$${")


def escaped_all(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return texts as they must be written where `${` is meant as it stands."""
    return tuple(escaped(word) for word in words)


def escaped_values(env: Mapping[str, str]) -> dict[str, str]:
    """Return variables whose values are meant as they stand."""
    return {name: escaped(value) for name, value in env.items()}
