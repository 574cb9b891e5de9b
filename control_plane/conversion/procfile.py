"""Reads a Procfile, as Heroku, foreman and honcho have it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from control_plane.conversion.commands import Command, parse, split
from control_plane.conversion.model import Imported, Program, escaped, escaped_all, escaped_values
from control_plane.conversion.naming import Names, renaming
from control_plane.conversion.reading import malformed, nothing_in, read_text, wrong_value
from control_plane.conversion.servers import port_in

BASE_PORT = 5000  # both tools: 5000, and 100 more for each line
PORT_STEP = 100
WEB = "web"  # the process that Heroku sends HTTP to
DOTENV = ".env"
DOTENV_REMARK = "Variables come from .env, which `env_file` hands to every program."
_LINE = re.compile(r"([A-Za-z0-9_.-]+)\s*:\s*(.+)")
_USES_PORT = re.compile(r"\$(?:PORT\b|\{PORT\b)")
_RELEASE = {
    "release": ("Heroku runs it once, before the others: `ctl launch --exclude release` leaves it out.",)
}


@dataclass(frozen=True)
class Entry:
    """One line of a Procfile, and how many of it are wanted."""

    name: str
    line: str
    number: int
    copies: int
    first_port: int


@dataclass(frozen=True)
class Listening:
    """The port that a command answers at, and whether that is the PORT of its environment."""

    port: int | None = None
    follows: bool = False
    remarks: tuple[str, ...] = ()


def read(path: Path) -> Imported:
    """Read a Procfile, and the `.foreman` beside it where there is one.

    Raises:
        ConfigError: it cannot be read, or something is wrong in it.
    """
    remarks = []
    if (path.parent / DOTENV).is_file():
        remarks.append("Beside it is an .env, which was not read: `ctl import honcho` carries it over.")
    foreman = _foreman(path.parent / ".foreman")
    base = foreman.get("port") or str(BASE_PORT)
    if not base.isdecimal():
        raise wrong_value(path.parent / ".foreman", "port", base, expected="a number")
    formation = _formation(
        path.parent / ".foreman", foreman.get("formation") or foreman.get("concurrency", "")
    )
    return _imported(path, int(base), formation, env_file="", remarks=tuple(remarks))


def read_with_dotenv(path: Path) -> Imported:
    """Read a Procfile as honcho does, with the `.env` beside it.

    Raises:
        ConfigError: it cannot be read, or something is wrong in it.
    """
    dotenv = path.parent / DOTENV
    if not dotenv.is_file():
        return _imported(path, BASE_PORT, {}, env_file="", remarks=())
    base = dotenv_values(stream=StringIO(read_text(dotenv)), interpolate=False).get("PORT") or str(BASE_PORT)
    if not base.isdecimal():
        raise wrong_value(dotenv, "PORT", base, expected="a number, the port of the first line")
    return _imported(path, int(base), {}, env_file=DOTENV, remarks=(DOTENV_REMARK,))


def _imported(
    path: Path, base: int, formation: Mapping[str, int], *, env_file: str, remarks: tuple[str, ...]
) -> Imported:
    entries = list(_entries(path, base, formation))
    if not any(entry.copies for entry in entries):
        raise nothing_in(path, expected="lines such as `web: gunicorn app:app --bind :$PORT`")
    names = Names()
    programs = [
        program for entry in entries if entry.copies for program in _programs(path, entry, names, env_file)
    ]
    left_out = [
        f"not carried over: {entry.name} (the formation has none of it)"
        for entry in entries
        if not entry.copies
    ]
    return Imported(tuple(programs), remarks=remarks, left_out=tuple(left_out))


def _entries(path: Path, base: int, formation: Mapping[str, int]) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise malformed(path, f"It is no `name: command`: {text[:80]}", line=number, fix=_fix(text))
        name = found[1]
        if name in seen:
            raise malformed(
                path,
                f"'{name}' is there already, in line {seen[name]}",
                line=number,
                fix="Give one of them another name",
            )
        seen[name] = number
        # foreman: without a formation one of each, with one none of what that leaves out.
        copies = formation.get(name, formation.get("all", 0 if formation else 1))
        yield Entry(name, found[2], number, copies, base + PORT_STEP * (len(seen) - 1))


def _fix(text: str) -> str:
    name = text.partition(":")[0].strip()
    if ":" in text and not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        return "A name has letters, digits, '-' and '_' only"
    return "Write the name, a colon and a command; a comment begins with #"


def _programs(path: Path, entry: Entry, names: Names, env_file: str) -> Iterator[Program]:
    try:
        command = parse(entry.line)
        listening = _listening(entry, command, split(entry.line))
    except ValueError as exc:
        raise malformed(path, str(exc), line=entry.number) from exc
    # Each copy is given a PORT of its own, so copies that listen there are programs of their own.
    apart = listening.follows and entry.copies > 1
    for index in range(entry.copies if apart else 1):
        original = entry.name if index == 0 else f"{entry.name}-{index + 1}"
        name = names.give(original)
        yield Program(
            name=name,
            command=escaped_all(command.words),
            cwd=escaped(command.cwd),
            env={"PORT": str(entry.first_port + index), **escaped_values(command.env)},
            env_file=env_file,
            port=listening.port + index if listening.port and apart else listening.port,
            replicas=1 if apart else entry.copies,
            remarks=(*renaming(original, name), *_RELEASE.get(original, ()), *listening.remarks),
        )


def _listening(entry: Entry, command: Command, words: tuple[str, ...]) -> Listening:
    env = {"PORT": str(entry.first_port), **command.env}
    own = command.env.get("PORT", "")
    if _USES_PORT.search(entry.line):
        return Listening(int(own) if own.isdecimal() else entry.first_port, follows=not own)
    named = port_in(words, env)
    if named is not None and named != entry.first_port:
        return Listening(named, remarks=("`port` is the one that its command names, or its server's own.",))
    if own.isdecimal():
        return Listening(int(own))
    if entry.name == WEB or named is not None:
        remark = "`port` is the PORT that it is given; if it listens elsewhere, write that."
        return Listening(entry.first_port, follows=True, remarks=(remark,))
    return Listening()


def _foreman(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = (line.partition(":") for line in read_text(path).split("\n") if ":" in line)
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _formation(path: Path, text: str) -> dict[str, int]:
    formation = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, count = part.partition("=")
        if not count.strip().isdecimal():
            raise wrong_value(path, "formation", text, expected="web=1,worker=2")
        formation[name.strip()] = int(count)
    return formation
