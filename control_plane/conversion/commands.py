"""Turns command lines into lists of words, and back. Pure.

Coplane runs no shell. A line that needs one is handed to `sh -c`, and told to `exec` wherever that leaves
its meaning alone, so that signals reach the program and not a shell before it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

# What a shell does itself, and no program.
BUILTINS = frozenset({
    ".", ":", "[[", "alias", "bg", "break", "case", "cd", "command", "continue", "do", "done", "elif",
    "else", "esac", "eval", "exit", "export", "fg", "fi", "for", "function", "getopts", "hash", "if",
    "in", "jobs", "local", "read", "readonly", "return", "select", "set", "shift", "source", "then",
    "time", "times", "trap", "type", "ulimit", "umask", "unalias", "unset", "until", "wait", "while",
    "{", "}", "!",
})  # fmt: skip
# POSIX.1-2024, XCU 2.2: the characters that mean something to a shell where they are not quoted.
_SPECIAL = frozenset("|&;<>()`*?[\n")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_EXPANSION = re.compile(r"\$(?:[A-Za-z_0-9@*#?$!-]|\{|\()")
_CD = re.compile(r"cd\s+([\w./@%+][\w./@%+-]*)\s*&&\s*(\S.*)", re.DOTALL)

# Inside these, operators belong to the expansion and not to the line.
_MASKED = re.compile(r"\$\([^()]*\)|\$\{[^}]*\}|`[^`]*`")
_SEQUENCE = re.compile(r"&&|\|\||;")
_REDIRECTION = re.compile(r"[<>]&|&>")
_COMPOUND = re.compile(r"[|&()\n`]")
# A trap needs its shell at the end, and an alias or a function may stand for any name.
_NEEDS_SHELL = re.compile(r"\b(?:trap|alias|function)\b|\(\s*\)")
_BEFORE_COMMAND = re.compile(r"\s*(?:[A-Za-z_]\w*=\S*\s+)*")


@dataclass(frozen=True)
class Command:
    """What a command line comes down to.

    Attributes:
        words: the program and its arguments.
        env: variables that the line sets for it.
        cwd: the folder that the line changes to first.
    """

    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""


def parse(line: str) -> Command:
    """Return what a shell would run for this line.

    Raises:
        ValueError: a quotation is not closed, or there is nothing to run.
    """
    text = line.strip()
    if not split(text):  # whoever runs it, what is not closed is refused
        raise ValueError("nothing to run")
    found = _CD.fullmatch(text)
    cwd, rest = (found[1], found[2]) if found else ("", text)
    plain = _plain(rest)
    return replace(plain, cwd=cwd) if plain else Command(by_shell(text))


def split(line: str) -> tuple[str, ...]:
    """Return the words of a line that no shell is to read.

    Raises:
        ValueError: a quotation is not closed.
    """
    try:
        return tuple(shlex.split(line))
    except ValueError as exc:
        what = "a backslash at its end" if "escaped" in str(exc) else "a quotation that is not closed"
        raise ValueError(f"the command has {what}: {line.strip()[:80]}") from exc


def by_shell(text: str) -> tuple[str, ...]:
    """Return the words that let a shell run the text."""
    return ("sh", "-c", _with_exec(text))


def _plain(text: str) -> Command | None:
    """Return the command where no shell is needed, None where one is."""
    if any(_is_special(text, at, quote) for at, quote in _bare(text)):
        return None
    words = list(shlex.split(text))
    env: dict[str, str] = {}
    while words:
        if found := _ASSIGNMENT.fullmatch(words[0]):
            env[found[1]] = found[2]
        elif words[0] != "exec" and not (words[0] == "env" and _ASSIGNMENT.fullmatch("".join(words[1:2]))):
            break
        del words[0]
    if not words:
        raise ValueError("nothing to run")
    if words[0] in BUILTINS or words[0].startswith("-"):
        return None
    return Command(tuple(words), env)


def _bare(text: str) -> Iterator[tuple[int, str]]:
    """Yield the index of every character that no backslash protects, with the quote it stands in."""
    quote, at = "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            # Inside double quotes shlex keeps this backslash, and a shell takes it away.
            if quote and text[at + 1 : at + 2] in ("$", "`", "\n"):
                yield at, quote
            at += 2
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            yield at, quote
        at += 1


def _is_special(text: str, at: int, quote: str) -> bool:
    char = text[at]
    if quote == "'":
        return False
    if char == "$":
        return bool(_EXPANSION.match(text, at))
    if quote:
        return char in "`\\"
    if char in "~#":
        return at == 0 or text[at - 1] in " \t=:"
    return char in _SPECIAL


def _with_exec(text: str) -> str:
    """Put `exec` before the last command, where it is a simple one."""
    if _NEEDS_SHELL.search(text):
        return text
    masked = _MASKED.sub(lambda found: "x" * len(found[0]), text)
    masked = "".join(masked[at] if quote == "" else "x" for at, quote in _with_gaps(masked))
    start = max((found.end() for found in _SEQUENCE.finditer(masked)), default=0)
    last = masked[start:]
    if _COMPOUND.search(_REDIRECTION.sub("", last)):
        return text
    found = _BEFORE_COMMAND.match(last)
    at = start + (found.end() if found else 0)
    word = masked[at:].split(maxsplit=1)[:1]
    if not word or word[0] in BUILTINS or word[0] == "exec":
        return text
    return f"{text[:at]}exec {text[at:]}"


def _with_gaps(text: str) -> Iterator[tuple[int, str]]:
    """Yield every index; what is quoted or protected counts as quoted."""
    bare = dict(_bare(text))
    for at in range(len(text)):
        yield at, bare.get(at, "x")
