"""Errors that users see: what happened, why, what to do, and a code.

Imports the standard library only, so that the command line can load it for nothing.
Codes: E1xxx configuration, E2xxx launch, E3xxx control, E4xxx bus, E5xxx component.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, TypeVar, cast

E = TypeVar("E", bound=BaseException)

# Failures that no restart mends, because a component's declaration is wrong: a launch is refused for them.
DECLARATION_CODES = frozenset({"E2002", "E2003", "E2004", "E2005", "E5001"})


class ExitCode(IntEnum):
    """Exit codes of `ctl`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_READY = 3
    NO_CONTROL_PLANE = 4
    INTERRUPTED = 130


class CoplaneError(Exception):
    """An error with a code, as a user reads it.

    Args:
        what: what happened, as a clause without a full stop.
        why: the cause, where it is known.
        fix: what to do about it.
        code: the code, where it differs from the class's own.
        detail: longer text to show below, such as the traceback of the user's own code.
    """

    code = "E2000"
    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, what: str, *, why: str = "", fix: str = "", code: str = "", detail: str = "") -> None:
        self.what = what
        self.why = why
        self.fix = fix
        self.code = code or self.code
        self.detail = detail
        super().__init__(str(self))

    def __str__(self) -> str:
        after = (part[0].upper() + part[1:] for part in (self.why, self.fix) if part)
        parts = [self.what, *after]
        sentences = [part if part.endswith(("?", "!")) else part.rstrip(".") + "." for part in parts]
        return " ".join([self.code, *sentences])

    def as_dict(self) -> dict[str, Any]:
        """Return the error as it crosses a boundary (`--json`, problem+json, events)."""
        return {"code": self.code, "what": self.what, "why": self.why, "fix": self.fix, "detail": self.detail}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> CoplaneError:
        """Rebuild the error that `as_dict` wrote; unknown keys are ignored."""
        code = str(value.get("code", ""))
        family = _FAMILIES.get(code) or _FAMILIES.get(code[:2], CoplaneError)
        parts = {key: str(value.get(key) or "") for key in ("why", "fix", "code", "detail")}
        return family(str(value.get("what") or "unknown error"), **parts)


class ConfigError(CoplaneError):
    """The configuration or the command line is wrong; nothing was started."""

    code = "E1000"
    exit_code = ExitCode.USAGE


class LaunchError(CoplaneError):
    """A launch did not come about; what it had started is stopped."""

    code = "E2000"


class NotReadyInTime(LaunchError):
    """A launch or command was right but did not get ready before its deadline."""

    code = "E2008"
    exit_code = ExitCode.NOT_READY


class ControlError(CoplaneError):
    """A request to the control plane was refused or failed."""

    code = "E3000"


class NoControlPlane(ControlError):
    """Nobody answers on the control socket."""

    code = "E3001"
    exit_code = ExitCode.NO_CONTROL_PLANE


class NotDoneInTime(ControlError):
    """A request was accepted but what it asked for did not come about before its deadline."""

    code = "E3004"
    exit_code = ExitCode.NOT_READY


class BusError(CoplaneError):
    """The bus cannot do what was asked: unreachable, refused, or full."""

    code = "E4000"


class BusUnavailable(BusError):
    """The bus does not answer at the moment; trying again may help."""

    code = "E4001"


class ComponentError(CoplaneError):
    """A component's own code, or its declaration, is at fault."""

    code = "E5000"


class ConnectionBroken(ComponentError):
    """The answer broke off after it had begun: what was received of it is not whole."""

    code = "E5012"


_FAMILIES: dict[str, type[CoplaneError]] = {
    "E1": ConfigError,
    "E2": LaunchError,
    "E2008": NotReadyInTime,
    "E3": ControlError,
    "E3001": NoControlPlane,
    "E3004": NotDoneInTime,
    "E4": BusError,
    "E5": ComponentError,
}


def first_of(errors: BaseExceptionGroup[E]) -> E:
    """Return the first exception in a group, however deep."""
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return cast("E", found)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "Did you mean 'x'? Known: a, b, x" for a word that is not among `known`."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    listing = f"Known: {', '.join(names) if names else 'none'}"
    return f"Did you mean '{near[0]}'? {listing}" if near else listing
