"""What is imported before hosts are forked: the frameworks, then the users' modules.

A fork copies one thread and shares every socket. So a module that starts threads or opens sockets at
import must not be in the image: it is found out here, and imported by its hosts instead.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from control_plane.runtime import clock
from control_plane.runtime.anchor_protocol import Preloaded
from control_plane.runtime.loading import users_traceback
from control_plane.runtime.sources import modules_of

log = logging.getLogger("coplane.anchor")

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
# What only hosts need: imported in the anchor, while Valkey and the control plane start.
HOST_MODULES = (
    "components.adapters.asgi",
    "components.gateway.remote",
    "control_plane.brokers.faststream",
    "control_plane.runtime.host_main",
    "uvicorn.lifespan.off",
)

_PROCESS = "/proc/self"
# What came into this process, or the one that it was forked from, with the components' modules.
_users_modules: set[str] = set()


def import_base() -> None:
    """Import what every process needs, so that all of them share its memory."""
    _import_all(BASE_MODULES)


def import_for_hosts() -> None:
    """Import the rest of what hosts need."""
    _import_all(HOST_MODULES)


def _import_all(modules: Sequence[str]) -> None:
    for name in modules:
        importlib.import_module(name)


def preload(wanted: Sequence[tuple[str, str]], unsafe: Mapping[str, str]) -> list[Preloaded]:
    """Import each component's module, but for those already known as unsafe.

    Args:
        wanted: pairs of component and module.
        unsafe: module names, each with what makes it unsafe.

    Returns:
        What came of it. After one `unsafe` this process must not fork any more.
    """
    before = set(sys.modules)
    preloaded = [
        Preloaded(component=component, module=module, outcome="unsafe", why=unsafe[module])
        if module in unsafe
        else _import(component, module)
        for component, module in wanted
    ]
    _users_modules.update(sys.modules.keys() - before)
    return preloaded


def forget_users_modules(project: Path) -> None:
    """Let the project's own modules be imported once more, by a host that is to import them otherwise.

    What is installed stays: extensions of C cannot be imported twice.
    """
    for name in _users_modules & modules_of(project).keys():
        del sys.modules[name]


def freeze() -> None:
    """Turn the collector on, and keep it away from what was imported, which stays shared after a fork.

    Nothing is collected before: the holes that this leaves would be filled, and no longer shared (as the
    documentation of gc.freeze has it).
    """
    gc.freeze()
    gc.enable()


def _import(component: str, module: str) -> Preloaded:
    before, began_s = Footprint.take(), clock.now_s()
    outcome = why = ""
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as exc:
        # The supervision boundary for the users' code; its host meets the same exception and reports it.
        outcome, why = "failed", users_traceback(exc)
    if started := ", ".join(Footprint.take().beyond(before)):
        outcome, why = "unsafe", f"importing it {started}"
    done = Preloaded.model_validate(
        {
            "component": component,
            "module": module,
            "outcome": outcome or "imported",
            "duration_s": round(clock.now_s() - began_s, 4),
            "why": why,
        }
    )
    log.info("module.preloaded", extra={"target": module, **done.model_dump(exclude={"component", "module"})})
    return done


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
