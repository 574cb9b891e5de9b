"""Turns the variables in texts of a Compose file into those of a `ctl.toml`. Pure.

Compose fills an unset `$X` with nothing; here `${X}` must be set, so it becomes `${X:-}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from control_plane.conversion.commands import split
from control_plane.conversion.model import escaped

_NAME = re.compile(r"[A-Za-z_]\w*")
_INSIDE = re.compile(r"([A-Za-z_]\w*)(?:(:?[-?+])(.*))?", re.DOTALL)
REFERENCE = re.compile(r"(?<!\$)\$\{[^}]*\}")


class References:
    """One pass over a tree; gathers in `lost` what cannot be said here."""

    def __init__(self) -> None:
        self.lost: list[str] = []

    def fill(self, value: Any) -> Any:
        """Return the value with every text in it as it is to be written; keys are left alone.

        Raises:
            ValueError: a text has a `$` that begins nothing.
        """
        match value:
            case str():
                return self._text(value)
            case dict():
                return {key: self.fill(item) for key, item in value.items()}
            case list():
                return [self.fill(item) for item in value]
        return value

    def _text(self, text: str) -> str:
        pieces = [""]  # literal texts and references in turn
        for literal, reference in _pieces(text):
            pieces[-1] += literal
            if reference:
                if pieces[-1].endswith("$"):
                    self.lost.append(f"the '$' before {reference} in {text!r}")
                    pieces[-1] = pieces[-1].rstrip("$")
                pieces += [self._reference(reference), ""]
        return "".join(piece if index % 2 else escaped(piece) for index, piece in enumerate(pieces))

    def _reference(self, reference: str) -> str:
        found = _INSIDE.fullmatch(reference.removeprefix("${").removesuffix("}"))
        assert found, "the pieces are references"
        name, operator, default = found.groups()
        match (operator or "").lstrip(":"):
            case "":
                return f"${{{name}:-}}"
            case "?":
                return f"${{{name}}}"
            case "-" if not re.search(r"\$[A-Za-z_{]|\}", default):
                return f"${{{name}:-{default.replace('$$', '$')}}}"
        self.lost.append(f"the rest of {reference}")
        return f"${{{name}:-}}"


def split_references(text: str) -> tuple[str, ...]:
    """Return the words of a line; a reference in it is part of one word, whatever its default is.

    Raises:
        ValueError: a quotation is not closed.
    """
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\ue000{len(kept) - 1}\ue001"

    words = split(REFERENCE.sub(keep, text))
    return tuple(re.sub("\ue000(\\d+)\ue001", lambda found: kept[int(found[1])], word) for word in words)


def filled_by_default(text: str) -> str:
    """Return the text with what each reference in it stands for where its variable is not set."""
    return REFERENCE.sub(lambda found: found[0][2:-1].partition(":-")[2], text)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield literal text, each with the reference behind it: `$X` as `${X}`."""
    at = 0
    while (dollar := text.find("$", at)) >= 0:
        literal, after = text[at:dollar], text[dollar + 1 : dollar + 2]
        if after == "$":
            yield literal + "$", ""
            at = dollar + 2
            continue
        named = _NAME.match(text, dollar + 1)
        end = named.end() if named else _closing(text, dollar + 1)
        inside = named[0] if named else text[dollar + 2 : end - 1]
        if not _INSIDE.fullmatch(inside):
            raise ValueError(
                f"'{text[dollar:][:40]}' is no variable, and a '$' that is meant as it stands is written $$"
            )
        yield literal, f"${{{inside}}}"
        at = end
    yield text[at:], ""


def _closing(text: str, start: int) -> int:
    """Return where the brace that opens at `start` is closed, past the inner ones; 0 where it is not."""
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth <= 0:
            return at + 1 if text[at] == "}" else 0
    return 0
