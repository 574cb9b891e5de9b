"""What is imported before hosts are forked: the frameworks, then the users' modules.

A fork copies one thread and shares every socket. So a module that starts threads or opens sockets at
import must not be in an image: it is found out here, and imported by its hosts instead.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from control_plane.runtime import clock
from control_plane.runtime.images.protocol import Imported
from control_plane.runtime.loading import users_traceback
from control_plane.runtime.sources import own_files

# What the control plane needs as well: imported before the anchor is forked from it.
BASE_MODULES = (
    "asyncio",
    "contracts.messages",
    "control_plane.brokers.redis_transport",
    "control_plane.runtime.announcer",
    "control_plane.runtime.http_server",
    "control_plane.stores.redis",
    "fastapi",
    "httptools",
    "pydantic.v1",  # with the first route: FastAPI asks of each annotation whether it is of that kind
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
# What only hosts need: imported in an image, while Valkey and the control plane start.
HOST_MODULES = (
    "components.adapters.asgi",
    "components.gateway.remote",
    "control_plane.brokers.faststream",
    "control_plane.runtime.host_main",
)

_PROCESS = "/proc/self"
# Where `__import__` has it, after the name: zero where the name is no relative one.
_LEVEL = 3
# What came into this process, or the one that it was forked from, with the components' modules.
_users_modules: list[str] = []


def import_base() -> None:
    """Import what every process needs, so that all of them share its memory."""
    _import_all(BASE_MODULES)


def import_for_hosts() -> None:
    """Import the rest of what hosts need."""
    _import_all(HOST_MODULES)


def _import_all(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)


def import_users(module: str, watch: ImportWatch) -> tuple[Imported, list[str]]:
    """Import a component's module; return what came of it, and the names of all modules that came with it."""
    from control_plane.runtime.declared_routes import work_out  # with FastAPI, which is there by now

    last, before, began_s = next(reversed(sys.modules)), Footprint.take(), clock.now_s()
    outcome, why, left_clean, makes_do = "imported", "", False, False
    try:
        with watch:
            imported = importlib.import_module(module)
            makes_do = bool(watch.refused)
            work_out(imported)
    except Elsewhere:
        left_clean = not makes_do
    except (Exception, SystemExit) as exc:
        # The supervision boundary for the users' code; its host meets the same exception and reports it.
        outcome, why = "failed", users_traceback(exc)
    spoils = bool(watch.refused) and not left_clean  # refused, and it has made do without
    if watch.refused:
        outcome, why = "elsewhere", watch.refused
    if started := ", ".join(Footprint.take().beyond(before)):
        outcome, why, spoils = "unsafe", f"importing it {started}", True
    # From the end: whoever looks through all of them writes reference counts on pages that are shared.
    new = list(itertools.takewhile(lambda name: name != last, reversed(sys.modules)))
    _users_modules.extend(new)
    duration_s = round(clock.now_s() - began_s, 4)
    done = Imported.model_validate(
        {"module": module, "outcome": outcome, "spoils": spoils, "duration_s": duration_s, "why": why}
    )
    return done, new


def forget_users_modules(project: Path) -> None:
    """Let the project's own modules be imported once more, by a host that is to import them otherwise.

    What is installed stays: extensions of C cannot be imported twice.
    """
    for name in own_files(project, _users_modules):
        del sys.modules[name]


def freeze() -> None:
    """Turn the collector on, and keep it away from what was imported, which stays shared after a fork.

    Nothing is collected before: the holes that this leaves would be filled, and no longer shared (as the
    documentation of gc.freeze has it).
    """
    gc.freeze()
    gc.enable()


class Elsewhere(BaseException):
    """A module needs a package that another image is for. No Exception: few `except` are to catch it."""


class ImportWatch:
    """In the place of `__import__`, sees which installed packages an import comes to, and stops at some.

    A finder would see no end of an import, and what is only looked for as well.

    Args:
        project: the folder whose own packages are not looked at.
        begun: called with the outermost package that is being imported, and with nothing when it is done.
    """

    def __init__(self, project: Path, begun: Callable[[str], None]) -> None:
        self._project = project
        self._begun = begun
        self._depth = 0
        self._import = builtins.__import__
        self.avoid: Collection[str] = ()
        self.refused = ""

    def __enter__(self) -> None:
        self._depth, self.refused = 0, ""
        self._import = builtins.__import__
        builtins.__import__ = self

    def __exit__(self, *_: object) -> None:
        if builtins.__import__ is self:
            builtins.__import__ = self._import

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> ModuleType:
        """Import as `__import__` does.

        Raises:
            Elsewhere: the package is to be avoided.
        """
        package = name.partition(".")[0]
        level = args[_LEVEL] if len(args) > _LEVEL else kwargs.get("level", 0)
        if level or package in sys.modules or package in sys.stdlib_module_names or self._is_own(package):
            return self._import(name, *args, **kwargs)
        if package in self.avoid:
            self.refused = self.refused or package
            raise Elsewhere(package)
        self._depth += 1
        if self._depth == 1:
            self._begun(package)
        try:
            return self._import(name, *args, **kwargs)
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._begun("")

    def _is_own(self, name: str) -> bool:
        return (self._project / name).is_dir() or (self._project / f"{name}.py").exists()


@dataclass(frozen=True)
class Footprint:
    """What makes a fork unsafe, as it is now."""

    threads: frozenset[str]
    files: frozenset[tuple[str, str]]

    @classmethod
    def take(cls) -> Footprint:
        return cls(frozenset(os.listdir(f"{_PROCESS}/task")), frozenset(_shared_state()))

    def beyond(self, before: Footprint) -> Iterator[str]:
        if new := self.threads - before.threads:
            names = {str(thread.native_id): thread.name for thread in threading.enumerate()}
            yield "starts " + ", ".join(sorted(f"thread {names.get(tid, tid)!r}" for tid in new))
        for _, target in sorted(self.files - before.files):
            yield "opens " + ("a socket" if target.startswith("socket:") else "an event loop")


def _shared_state() -> Iterator[tuple[str, str]]:
    """Yield the open files whose state a fork would share: sockets and pollers."""
    for fd in os.listdir(f"{_PROCESS}/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = os.readlink(f"{_PROCESS}/fd/{fd}")
            if target.startswith("socket:") or target in {"anon_inode:[eventpoll]", "anon_inode:[io_uring]"}:
                yield fd, target
