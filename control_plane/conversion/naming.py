"""Gives what is imported names that are valid component names, each only once. Pure."""

from __future__ import annotations

import re

from contracts.specs import GATEWAY

MAX_CHARS = 63


class Names:
    """The names given so far, by those of the other tool."""

    def __init__(self) -> None:
        self._taken = {GATEWAY}  # the gateway is a component of its own
        self._given: dict[str, str] = {}

    def give(self, original: str) -> str:
        """Return a new valid name that is as near to the original as can be."""
        base = valid(original)
        name, number = base, 2
        while name in self._taken:
            suffix = f"-{number}"
            name, number = base[: MAX_CHARS - len(suffix)] + suffix, number + 1
        self._taken.add(name)
        self._given.setdefault(original, name)
        return name

    def of(self, original: str) -> str | None:
        """Return the name that was given for an original, None for one that has none."""
        return self._given.get(original)


def valid(original: str) -> str:
    """Return the nearest text that may be a component's name."""
    text = re.sub(r"[^a-z0-9_-]+", "-", original.lower()).strip("-_")
    if not re.match(r"[a-z]", text):
        text = f"c-{text}" if text else "component"
    return text[:MAX_CHARS].rstrip("-_")


def renaming(original: str, name: str) -> tuple[str, ...]:
    """Return the remark about a name that had to be changed, nothing where it was not."""
    if original == name:
        return ()
    if original.lower() == GATEWAY:
        return (f"renamed from {original!r}: that is the name of Coplane's own entrance",)
    return (f"renamed from {original!r}",)
