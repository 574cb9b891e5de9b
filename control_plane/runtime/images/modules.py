"""What is imported before hosts are forked: the frameworks, then the users' modules.

A fork copies one thread and shares every socket. So a module that starts threads or opens sockets at
import must not be in an image: it is found out here, and imported by its hosts instead.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from control_plane.runtime import clock
from control_plane.runtime.images.protocol import Imported
from control_plane.runtime.loading import users_traceback
from control_plane.runtime.sources import own_files

# What the control plane needs as well: imported before the anchor is forked from it.
BASE_MODULES = (
    "asyncio",
    "control_plane.brokers.redis_transport",
    "control_plane.runtime.http_server",
    "control_plane.stores.redis",
    "fastapi",
    "httptools",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvloop",
)
# What only hosts need: imported in an image, while Valkey and the control plane start.
HOST_MODULES = (
    "components.adapters.asgi",
    "components.gateway.remote",
    "control_plane.brokers.faststream",
    "control_plane.runtime.host_main",
    "uvicorn.lifespan.off",
)

_PROCESS = "/proc/self"
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


def import_users(module: str) -> Imported:
    """Import a component's module; after an outcome of `unsafe` this process must not fork any more."""
    before, began_s = Footprint.take(), clock.now_s()
    outcome, why = "imported", ""
    try:
        importlib.import_module(module)
    except Elsewhere as exc:
        outcome, why = "elsewhere", exc.package
    except (Exception, SystemExit) as exc:
        # The supervision boundary for the users' code; its host meets the same exception and reports it.
        outcome, why = "failed", users_traceback(exc)
    if started := ", ".join(Footprint.take().beyond(before)):
        outcome, why = "unsafe", f"importing it {started}"
    duration_s = round(clock.now_s() - began_s, 4)
    return Imported.model_validate(
        {"module": module, "outcome": outcome, "duration_s": duration_s, "why": why}
    )


def users_modules(*, since: int) -> list[str]:
    """Return the names of what came with the components' modules, but for the first ones."""
    return _users_modules[since:]


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
    """A module needs a package that another image is for. No Exception: nobody's `except` is to catch it."""

    def __init__(self, package: str) -> None:
        self.package = package
        super().__init__(package)


class ImportWatch(MetaPathFinder):
    """Sees, in front of all finders, what is imported, and stops at packages that are to be avoided.

    Whoever looks through all modules instead writes a reference count in each, on pages that are shared.

    Args:
        project: the folder whose own packages count as no packages.
        begun: called with the outermost package that is being imported, whenever there is another one.
    """

    def __init__(self, project: Path, begun: Callable[[str], None]) -> None:
        self._project = project
        self._begun = begun
        self._open: list[str] = []
        self.avoid: Collection[str] = ()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing, and leave it to the finders behind."""
        _users_modules.append(fullname)
        if path is None and fullname not in sys.stdlib_module_names and not self._is_own(fullname):
            if fullname in self.avoid:
                raise Elsewhere(fullname)
            outermost = self._open[:1]
            self._open = [*filter(_is_being_imported, self._open), fullname]
            if self._open[:1] != outermost:
                self._begun(self._open[0])
        return None

    def _is_own(self, name: str) -> bool:
        return (self._project / name).is_dir() or (self._project / f"{name}.py").exists()


def _is_being_imported(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


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
