"""Reads a supervisord configuration: its programs, one component each, and its groups as profiles."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from contracts.errors import ConfigError
from control_plane.conversion.commands import split
from control_plane.conversion.expansion import Expansion
from control_plane.conversion.ini import Section, read_sections
from control_plane.conversion.model import Imported, Program, not_carried_over
from control_plane.conversion.naming import Names, renaming, valid
from control_plane.conversion.reading import malformed, nothing_in, wrong_value
from control_plane.conversion.servers import port_in

PROGRAM, GROUP = "program", "group"
_RESTARTS = {"true": "always", "false": "never", "unexpected": "on-failure"}
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}

# Options of a program that have no place here, and why, in the order they are told.
_LEFT: tuple[tuple[tuple[str, ...], str], ...] = (
    (("user",), "programs run as the user who launches"),
    (("umask",), "programs have the umask of the launch"),
    (("priority",), "what has to start first is named by `depends_on`"),
    (("startsecs",), "a program is ready when it runs or, with `health`, when that says so"),
    (("exitcodes",), "exit code 0 alone counts as expected"),
    (("stopasgroup", "killasgroup"), "there is no such option"),
    (("serverurl",), "there is no such server"),
)
_LOGS = (
    "stdout_logfile", "stdout_logfile_maxbytes", "stdout_logfile_backups", "stdout_capture_maxbytes",
    "stdout_events_enabled", "stdout_syslog", "stderr_logfile", "stderr_logfile_maxbytes",
    "stderr_logfile_backups", "stderr_capture_maxbytes", "stderr_events_enabled", "stderr_syslog",
    "redirect_stderr",
)  # fmt: skip
# Sections about supervisord itself.
_OWN = ("supervisord", "unix_http_server", "inet_http_server", "supervisorctl", "rpcinterface", "ctlplugin")


def read(path: Path) -> Imported:
    """Read a supervisord configuration, and the files that it includes.

    Raises:
        ConfigError: one cannot be read, or something is wrong in it.
    """
    sections = read_sections(path)
    common, groups = _common_env(sections), _groups(sections)
    names = Names()
    members: dict[str, list[str]] = {}
    programs: list[Program] = []
    for section in sections:
        if section.kind == PROGRAM:
            made = list(_Reading(section, common, group=groups.get(section.name, "")).programs(names))
            members[section.name] = [program.name for program in made]
            programs += made
    if not programs:
        raise nothing_in(path, expected="a section such as [program:web] with a command")
    left_out = [text for section in sections for text in _left_out(section)]
    profiles, remarks = _profiles(sections, members)
    return Imported(
        tuple(programs), profiles, remarks=(*_about_itself(sections), *remarks), left_out=tuple(left_out)
    )


class _Reading:
    """Makes the programs of one section."""

    def __init__(self, section: Section, common: Mapping[str, str], *, group: str) -> None:
        self._section = section
        self._common = common
        self._group = group

    def programs(self, names: Names) -> Iterator[Program]:
        """Yield one program, or one for each process where these are not alike."""
        count, start = self._whole("numprocs", 1), self._whole("numprocs_start", 0)
        if count < 1:
            raise self._wrong("numprocs", expected="a number, at least 1")
        numbers = range(start, start + count)
        variants = [self._program(number) for number in numbers]
        if all(variant == variants[0] for variant in variants):
            yield self._named(variants[0], names, self._section.name, replicas=count)
            return
        for number, variant in zip(numbers, variants, strict=True):
            yield self._named(variant, names, f"{self._section.name}-{number}", replicas=1)

    def _named(self, program: Program, names: Names, original: str, *, replicas: int) -> Program:
        from dataclasses import replace

        name = names.give(original)
        remarks = (*renaming(original, name), *program.remarks)
        return replace(program, name=name, replicas=replicas, remarks=remarks)

    def _program(self, number: int) -> Program:
        words = self._command(number)
        env = self._environment(number)
        port = port_in(words, env)
        taken = ("`port` is the one that its command names, or its server's own.",) if port else ()
        return Program(
            name="",
            command=words,
            cwd=self._text("directory", number),
            env=env,
            port=port,
            stop_signal=self._signal(),
            grace_period_s=self._seconds("stopwaitsecs"),
            restart=dict(self._restart()),
            remarks=(*taken, *self._remarks()),
        )

    def _command(self, number: int) -> tuple[str, ...]:
        if "command" not in self._section.options:
            raise malformed(
                self._section.path,
                "It has no command",
                line=self._section.line,
                at=f"[{self._section.title}]",
                fix="Add a line such as command=python worker.py",
            )
        try:
            words = split(self._text("command", number))
        except ValueError as exc:
            raise malformed(self._section.path, str(exc), at=f"[{self._section.title}]") from exc
        if not words:
            raise self._wrong("command", expected="a program and its arguments")
        return words

    def _environment(self, number: int) -> dict[str, str]:
        """Return the program's variables; each sees those of [supervisord], and none its own."""
        expansion = Expansion(self._section, number, group=self._group, env=self._common)
        text = expansion.expand("environment", self._section.options.get("environment", ""))
        return {**self._common, **environment_of(self._section, text)}

    def _signal(self) -> str:
        given = self._section.options.get("stopsignal", "").upper()
        return f"SIG{given.removeprefix('SIG')}" if given and given not in ("TERM", "SIGTERM") else ""

    def _restart(self) -> Iterator[tuple[str, str | int]]:
        given = self._section.options.get("autorestart", "unexpected").lower()
        given = "true" if given in _TRUE else "false" if given in _FALSE else given
        if given not in _RESTARTS:
            raise self._wrong("autorestart", expected="true, false or unexpected")
        if given != "unexpected":
            yield "policy", _RESTARTS[given]
        if "startretries" in self._section.options:
            yield "max_restarts", self._whole("startretries", 3)

    def _remarks(self) -> Iterator[str]:
        options = self._section.options
        if options.get("autostart", "true").lower() in _FALSE:
            why = f"everything starts; `ctl launch --exclude {valid(self._section.name)}` leaves it out"
            yield not_carried_over("autostart = false", why)
        for keys, why in _LEFT:
            if given := [f"{key} = {options[key]}" for key in keys if key in options]:
                yield not_carried_over(", ".join(given), why)
        if given := [key for key in _LOGS if key in options]:
            yield not_carried_over(", ".join(given), "what it prints is below .ctl/logs: see `ctl logs`")
        known = {*_KNOWN, *_LOGS, *(key for keys, _ in _LEFT for key in keys)}
        if unknown := sorted(options.keys() - known):
            yield not_carried_over(", ".join(unknown), "not an option of supervisord that is known here")

    def _text(self, key: str, number: int = 0) -> str:
        text = self._section.options.get(key, "")
        env = self._environment(number)
        return Expansion(self._section, number, group=self._group, env=env).expand(key, text)

    def _whole(self, key: str, default: int) -> int:
        text = self._text(key) or str(default)
        if not text.isdecimal():
            raise self._wrong(key, expected="a whole number")
        return int(text)

    def _seconds(self, key: str) -> float | None:
        return float(self._whole(key, 0)) if key in self._section.options else None

    def _wrong(self, key: str, *, expected: str) -> ConfigError:
        given = self._section.options.get(key, "")
        return wrong_value(self._section.path, f"[{self._section.title}] {key}", given, expected=expected)


_KNOWN = {
    "command", "process_name", "numprocs", "numprocs_start", "directory", "environment", "autostart",
    "autorestart", "startretries", "stopsignal", "stopwaitsecs",
}  # fmt: skip


def environment_of(section: Section, text: str) -> dict[str, str]:
    """Return the variables of an `environment` option: `A="1",B=2`.

    Raises:
        ConfigError: it is no list of them.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.wordchars += "/.+-():{}$@%~!?&;<>[]^|"
    lexer.commenters = ""
    try:
        tokens = list(lexer)
    except ValueError:
        tokens = ["?"]
    env = {}
    while tokens:
        if len(tokens) < 3 or tokens[1] != "=" or tokens[3:4] not in ([], [","]):
            where = f"[{section.title}] environment"
            raise wrong_value(section.path, where, "not a list of variables", expected='A="1",B="2"')
        env[tokens[0]] = tokens[2]
        tokens = tokens[4:]
    return env


def _common_env(sections: list[Section]) -> dict[str, str]:
    env: dict[str, str] = {}
    for section in sections:
        if section.kind == "supervisord":
            text = Expansion(section, 0).expand("environment", section.options.get("environment", ""))
            env |= environment_of(section, text)
    return env


def _groups(sections: list[Section]) -> dict[str, str]:
    """Return the group of each program that is in one."""
    groups = [section for section in sections if section.kind == GROUP]
    return {program: group.name for group in groups for program in _members(group)}


def _members(group: Section) -> list[str]:
    return [name.strip() for name in group.options.get("programs", "").split(",") if name.strip()]


def _about_itself(sections: list[Section]) -> Iterator[str]:
    titles = [f"[{section.title}]" for section in sections if section.kind in _OWN]
    if titles:
        yield not_carried_over(", ".join(titles), "they are about supervisord itself")


def _left_out(section: Section) -> Iterator[str]:
    if section.kind in (PROGRAM, GROUP, "include", *_OWN):
        return
    why = {
        "fcgi-program": "Coplane opens no FastCGI socket; let it listen by itself, as a [program:x]",
        "eventlistener": "it speaks supervisord's event protocol; `ctl events --json -f` prints what happens",
    }.get(section.kind, "it is no section of supervisord that is known here")
    yield not_carried_over(f"[{section.title}]", why)


def _profiles(
    sections: list[Section], members: Mapping[str, list[str]]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    profiles, remarks = {}, []
    for section in sections:
        if section.kind != GROUP:
            continue
        wanted = _members(section)
        unknown = [name for name in wanted if name not in members]
        if unknown:
            where = f"[{section.title}] programs"
            raise wrong_value(section.path, where, unknown[0], expected="the name of a [program:x]")
        profiles[valid(section.name)] = tuple(each for name in wanted for each in members[name])
        remarks.append(
            f"[{section.title}] is a profile: `ctl launch --profile {valid(section.name)}` starts it."
        )
    return profiles, remarks
