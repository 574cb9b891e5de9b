"""Finds out from its shape what the thing is that `use` names, and says by what it was known.

Nothing is called and nothing is constructed. Frameworks are known by the names of their classes, so that
none of them is imported for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from contracts.specs import Kind

LIFECYCLE = ("startup", "shutdown", "get_routes", "health_check")
_LAUNCHER = ("load_agents", "start_all", "stop_all")
_ASGI = ("scope", "receive", "send")
_WSGI = ("environ", "start_response")
_START = "start"


@dataclass(frozen=True)
class Found:
    """A kind, and what gave it away: a part of a sentence that begins with "it is"."""

    kind: Kind
    why: str


def find_kind(target: Any, *, run: str = "") -> Found | None:
    """Return what the target is, or None where it is nothing that can be hosted as it is.

    Args:
        run: the method that starts it, where the configuration names one.
    """
    if _has(target, LIFECYCLE):
        return Found(Kind.COMPONENT, f"{_noun(target)} with {_listed(LIFECYCLE)}")
    if is_asgi_app(target):
        return Found(Kind.ASGI, "an async callable of scope, receive and send")
    if _has(target, _LAUNCHER):
        return Found(Kind.LAUNCHER, f"{_noun(target)} with {_listed(_LAUNCHER)}")
    if _is_faststream(target):
        return Found(Kind.FASTSTREAM, "a FastStream application")
    if _has(target, (run or _START,)):
        return Found(Kind.OBJECT, f"{_noun(target)} with the method {run or _START}")
    if _parameters(target)[:2] == _WSGI:
        return Found(Kind.WSGI, "a callable of environ and start_response")
    if inspect.iscoroutinefunction(target):
        return Found(Kind.TASK, "a coroutine function")
    return None


def is_asgi_app(target: Any) -> bool:
    """Tell whether an object is an ASGI application: it takes scope, receive and send.

    A plain function of three other parameters is a function; an object that is called with three is not
    called so by anybody else.
    """
    if inspect.isclass(target) or not callable(target):
        return False
    if _parameters(target)[:3] == _ASGI:
        return True
    is_async = inspect.iscoroutinefunction(type(target).__call__)
    return is_async and not inspect.isroutine(target) and _required(target) == 3


def _is_faststream(target: Any) -> bool:
    return any(
        base.__name__ == "FastStream" and base.__module__.startswith("faststream")
        for base in type(target).__mro__
    )


def _has(target: Any, names: Iterable[str]) -> bool:
    return not inspect.isroutine(target) and all(callable(getattr(target, name, None)) for name in names)


def _parameters(target: Any) -> tuple[str, ...]:
    """Return the names of the parameters of a call, none where it cannot be called, or is a class."""
    if inspect.isclass(target) or not callable(target):
        return ()
    try:
        return tuple(inspect.signature(target).parameters)
    except (TypeError, ValueError):
        return ()


def _required(target: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(each.default is each.empty for each in parameters)


def _noun(target: Any) -> str:
    name = target.__name__ if inspect.isclass(target) else type(target).__name__
    return f"the class {name}" if inspect.isclass(target) else f"an object of the class {name}"


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
