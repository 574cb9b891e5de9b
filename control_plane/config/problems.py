"""How problems of a configuration are worded and gathered.

Everything wrong with a file is said at once. A value that may hold a secret is never repeated whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from contracts.errors import ConfigError, did_you_mean

KeyPath = tuple[str | int, ...]

_MAX_SHOWN = 60
# Greedy up to the last "@", because a password that somebody forgot to quote may contain one.
_CREDENTIALS = re.compile(r"(//[^\s/@:]*):\S*@")
_SECRET_PARAMETER = re.compile(r"(?i)([?&](?:password|token|secret)=)[^&\s]+")
_SECRET_KEY = re.compile(r"(?i)password|passwd|secret|token|api_?key|credential|private_?key")


def dotted(path: KeyPath) -> str:
    """Return the path as a user writes it: `components.writer.depends_on[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def redact(text: str) -> str:
    """Return the text without the passwords of the URLs in it."""
    return _SECRET_PARAMETER.sub(r"\1***", _CREDENTIALS.sub(r"\1:***@", text))


def redact_tree(value: Any, *, key: str = "") -> Any:
    """Return the tree without passwords: of URLs, and of keys that are named like one."""
    if isinstance(value, Mapping):
        return {name: redact_tree(item, key=name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_tree(item, key=key) for item in value]
    if isinstance(value, str) and value:
        return "***" if _SECRET_KEY.search(key) else redact(value)
    return value


def show(value: Any, path: KeyPath) -> str:
    """Return a value that was given, in words short enough for a message."""
    match value:
        case dict():
            return "a table"
        case list() | tuple():
            return "a list"
        case None:
            return "null"
        case bool():
            return str(value).lower()
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    text = str(redact_tree(str(value), key=key))
    text = text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
    return f"'{text}'" if isinstance(value, str) else text


def unknown_component(name: str, known: Iterable[str], *, where: str = "", fix: str = "") -> ConfigError:
    """Return E1001 with the near miss; `where` says which key or option named it."""
    return ConfigError(
        f"unknown component '{name}'" + (f" in {where}" if where else ""),
        why=did_you_mean(name, known),
        fix=fix,
        code="E1001",
    )


def combined(problems: Sequence[ConfigError], *, file_name: str) -> ConfigError:
    """Return the problem itself where there is one, else an error that lists them all."""
    if len(problems) == 1:
        return problems[0]
    return ConfigError(
        f"{len(problems)} problems in the configuration ({file_name})",
        code=problems[0].code,
        detail="\n".join(str(problem) for problem in problems),
    )
