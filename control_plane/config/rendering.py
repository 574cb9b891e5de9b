"""Writes settings as TOML, each overridden value with a comment that says where it came from.

What it writes can be read again, but for the passwords, which it does not show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from contracts.specs import Settings
from control_plane.config.problems import redact_tree

Tree = dict[str, Any]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SECTIONS = ("components", "profiles")  # tables of tables: each entry gets a header of its own


def to_tree(settings: Settings) -> Tree:
    """Return the settings as they would stand in a file, without passwords."""
    tree: Tree = redact_tree(settings.model_dump(mode="json", exclude_none=True))
    for component in tree["components"].values():
        del component["name"]
    return tree


def to_toml(settings: Settings, sources: Mapping[str, str]) -> str:
    """Return the settings as TOML text."""
    blocks: list[str] = []
    for section, table in to_tree(settings).items():
        tables = {f"{section}.{name}": entry for name, entry in table.items()}
        for header, entry in tables.items() if section in _SECTIONS else [(section, table)]:
            blocks.append("\n".join([f"[{header}]", *_lines(header, entry, sources)]))
    return "\n\n".join(blocks)


def _lines(header: str, table: Tree, sources: Mapping[str, str]) -> Iterator[str]:
    for key, value in table.items():
        path = f"{header}.{key}"
        origins = [source for at, source in sources.items() if f"{at}.".startswith(f"{path}.")]
        comment = f"  # {', '.join(origins)}" if origins else ""
        yield f"{_key(key)} = {_value(value)}{comment}"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    match value:
        case dict():
            pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case list():
            return f"[{', '.join(_value(item) for item in value)}]"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
    # A reference that was escaped in the file is escaped again.
    return _text(str(value).replace("${", "$${"))


def _text(text: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
