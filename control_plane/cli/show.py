"""Shows things on a terminal, in a pipe or as JSON: colours, tables, errors.

Colours only where a terminal asks for them. What comes from outside is made harmless first: no escape
sequence of a log line or a reason reaches the terminal, but for colours where colours are shown.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, TextIO

from contracts.errors import CoplaneError

MAX_SHOWN_CHARS = 4_000

_CODES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
# ECMA-48: control sequences, operating system commands and the like, two-character escapes.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_]?)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Style(NamedTuple):
    """Whether colours are shown, and how."""

    colour: bool

    def paint(self, text: str, colour: str) -> str:
        """Return the text in a colour ("" for none)."""
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour and colour and text else text

    def harmless(self, text: str) -> str:
        """Return text of somebody else's, cut to what a person reads, without control over the terminal."""
        shown = text[:MAX_SHOWN_CHARS]
        colours = _COLOUR.findall(shown) if self.colour else []
        if colours:
            pieces = [_visible(_ESCAPE.sub("", piece)) for piece in _COLOUR.split(shown)]
            shown = "".join(a + b for a, b in zip(pieces, [*colours, "\x1b[0m"], strict=True))
        else:
            shown = _visible(_ESCAPE.sub("", shown))
        more = len(text) - MAX_SHOWN_CHARS
        return f"{shown}… ({more} more characters)" if more > 0 else shown


_PLAIN = Style(colour=False)


def style_of(stream: TextIO, *, no_color: bool) -> Style:
    """Return the style for a stream: https://no-color.org, and nothing where nobody sees colours."""
    wanted = not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(wanted and stream.isatty())


class Cell(NamedTuple):
    """A cell of a table."""

    text: str
    colour: str = ""
    right: bool = False


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], style: Style) -> list[str]:
    """Return the lines of a table whose columns are aligned; the last column is as long as it likes."""
    rows = [[cell._replace(text=_PLAIN.harmless(cell.text)) for cell in row] for row in rows]
    head = [Cell(text, "dim", rows[0][i].right if rows else False) for i, text in enumerate(headers)]
    widths = [max(len(row[i].text) for row in (head, *rows)) for i in range(len(headers))]
    return [
        "  ".join(_padded(*pair, style) for pair in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]


def print_json(value: Any) -> None:
    """Print a value for a program to read."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print a value as one line, at once."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def error_text(error: CoplaneError) -> str:
    """Return what a person reads of an error."""
    return f"{error}\n{error.detail.rstrip()}" if error.detail else str(error)


def show_error(error: CoplaneError, *, as_json: bool) -> None:
    """Print an error to stderr."""
    text = json.dumps({"error": error.as_dict()}, ensure_ascii=False) if as_json else error_text(error)
    print(text, file=sys.stderr)


def _padded(cell: Cell, width: int, style: Style) -> str:
    space = " " * (width - len(cell.text))
    text = style.paint(cell.text, cell.colour)
    return space + text if cell.right else text + space


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\t\n" else c.encode("unicode_escape").decode() for c in text)
