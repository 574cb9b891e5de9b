"""Knows on which port a command line of a well-known web server lets it answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

# The options by which each is told its port, and the port it takes without.
_SERVERS: dict[str, tuple[tuple[str, ...], int]] = {
    "daphne": (("-p", "--port"), 8000),
    "fastapi": (("--port",), 8000),
    "flask": (("-p", "--port"), 5000),
    "granian": (("--port",), 8000),
    "gunicorn": (("-b", "--bind"), 8000),
    "hypercorn": (("-b", "--bind"), 8000),
    "streamlit": (("--server.port",), 8501),
    "uvicorn": (("--port",), 8000),
}
_LAUNCHERS = ("-m", "run", "exec", "python", "python3", "uv", "poetry", "pipenv")
_PORT = re.compile(r"(?:.*:)?(\d{1,5})", re.DOTALL)


def port_in(words: Sequence[str], env: Mapping[str, str] | None = None) -> int | None:
    """Return the port that the command line names, or that its server takes by itself, else None."""
    for at, word in enumerate(words):
        name = PurePosixPath(word).name
        if name in _SERVERS:
            options, default = _SERVERS[name]
            own = (env or {}).get("PORT", "") if name == "gunicorn" else ""  # it looks there by itself
            return _option(words[at + 1 :], options, int(own) if own.isdecimal() else default)
        if name == "http.server":
            return _positional(words[at + 1 :], 8000)
        if name == "manage.py" and "runserver" in words:
            return _positional(words[words.index("runserver") + 1 :], 8000)
        if name not in _LAUNCHERS and not name.startswith("python"):
            return None
    return None


def _option(words: Sequence[str], options: Sequence[str], default: int) -> int | None:
    for at, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in options:
            return _number(value or "".join(words[at + 1 : at + 2]))
        short = next((each for each in options if len(each) == 2 and word.startswith(each)), "")
        if short:
            return _number(word.removeprefix(short))
    return default


def _positional(words: Sequence[str], default: int) -> int | None:
    given = [word for word in words if not word.startswith("-")]
    return _number(given[0]) if given else default


def _number(text: str) -> int | None:
    found = _PORT.fullmatch(text)
    return int(found[1]) if found and 0 < int(found[1]) <= 65535 else None
