"""Examines one component, whose spec comes on standard input; the finding is the last line of the output."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts.errors import CoplaneError
from contracts.specs import STOP_NAMES, ComponentSpec, Kind
from control_plane.diagnosis.findings import Finding
from control_plane.runtime.declared_routes import declared_routes
from control_plane.runtime.environment import is_particular, take_on
from control_plane.runtime.images.modules import Footprint
from control_plane.runtime.kinds import find_kind
from control_plane.runtime.loading import load_target, nothing_to_host, will_be_called

SLOW_S = 2.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(project: Path) -> None:
    """Examine, and print the finding."""
    spec = ComponentSpec.model_validate_json(sys.stdin.read())
    os.chdir(project)
    sys.path.insert(0, str(project))
    take_on([spec])
    print(f"\n{_finding(spec).model_dump_json()}", flush=True)
    os._exit(0)  # whatever threads its module has started


def _finding(spec: ComponentSpec) -> Finding:
    if spec.command:
        facts = tuple(_program(spec))
        return Finding(component=spec.name, kind="program", why="it has a `command`", facts=facts)
    before = _Surroundings()
    began_s = time.perf_counter()
    try:
        target = load_target(spec)
    except CoplaneError as exc:
        return Finding(component=spec.name, error=exc.as_dict())
    import_s = round(time.perf_counter() - began_s, 3)
    seen = Finding(component=spec.name, import_s=import_s, hints=tuple(_hints(before, import_s)))
    return seen.model_copy(update=_taken_for(target, spec))


def _taken_for(target: Any, spec: ComponentSpec) -> dict[str, Any]:
    if will_be_called(target, spec):
        why = "`factory` says so" if spec.factory else "it is a function, which makes what is to run"
        return {"kind": "factory", "why": why, "facts": tuple(_process(spec))}
    found = find_kind(target, run=spec.run)
    kind = spec.kind or (found.kind if found else None)
    if kind is None:
        return {"error": nothing_to_host(target, spec).as_dict()}
    why = f"it is {found.why}" if found and kind is found.kind else "`kind` says so"
    facts = (*_facts(kind, spec), *_process(spec))
    return {"kind": kind, "why": why, "facts": facts, "routes": declared_routes(target, spec.address)}


def _facts(kind: Kind, spec: ComponentSpec) -> Iterator[str]:
    match kind:
        case Kind.ASGI | Kind.WSGI:
            yield f"served {_place(spec)}" + (", which it does not see" if spec.strip_prefix else "")
            yield _health_of_app(spec)
        case Kind.OBJECT | Kind.LAUNCHER:
            yield from _life(spec)
        case Kind.TASK:
            yield "run as a task: its return is the end of the component, its exception a crash"
        case Kind.FASTSTREAM:
            yield (
                "started and stopped, and its streams are the bus's"
                if spec.adopt_bus
                else "started and stopped with its own broker, which is left alone"
            )
        case Kind.COMPONENT:
            yield "hosted as it is"


def _place(spec: ComponentSpec) -> str:
    where = f"at port {spec.listener}, " if spec.listener else f"at {spec.host}, " if spec.host else ""
    return f"{where}under {spec.prefix}"


def _health_of_app(spec: ComponentSpec) -> str:
    if spec.health.path:
        return f"well while GET {spec.health.path} answers 2xx"
    return "well once its startup is complete; say `health.path` to have it asked"


def _life(spec: ComponentSpec) -> Iterator[str]:
    run = spec.run or "start"
    ends = "which may return or go on until it is stopped" if run == "start" else "whose return is its end"
    yield f"started by {run}(), {ends}"
    stop = f"{spec.stop}()" if spec.stop else f"the first of {', '.join(STOP_NAMES)} that it has"
    yield f"stopped by {stop}"
    ready = f"`{spec.ready}` says so" if spec.ready else "start has returned, or gone on for half a second"
    if spec.ready_at is not None:
        ready = f"port {spec.ready_at[1]} at {spec.ready_at[0]} accepts connections"
    yield f"ready when {ready}"


def _program(spec: ComponentSpec) -> Iterator[str]:
    yield "a process of its own in every mode"
    if spec.port is not None:
        yield f"{spec.address} leads to its port{f' {spec.port}' if spec.port else ', which it is told'}"
    yield f"asked to end by {spec.stop_signal}, killed after {spec.grace_period_s:g} s"


def _process(spec: ComponentSpec) -> Iterator[str]:
    if is_particular(spec):
        yield "imported by its own host, not before the fork, because of its variables or folders"
    elif not spec.preload:
        yield "imported by its own host, not before the fork, because of `preload = false`"
    if spec.exclusive:
        yield "never twice in one process"


class _Surroundings:
    """What an import may change that is not its own."""

    def __init__(self) -> None:
        self.footprint = Footprint.take()
        self.handlers = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
        self.log_handlers = list(logging.getLogger().handlers)
        self.folder = os.getcwd()
        self.path = list(sys.path)
        server = sys.modules.get("uvicorn.server")
        self.handles_exit = server.Server.handle_exit if server else None


def _hints(before: _Surroundings, import_s: float) -> Iterator[str]:
    after = _Surroundings()
    if import_s > SLOW_S:
        yield f"its import takes {import_s:.1f} s: in one process with others, these wait for it"
    for effect in after.footprint.beyond(before.footprint):
        yield f"importing it {effect}: it is imported by its own host, not before the fork"
    if after.handlers != before.handlers:
        yield "importing it installs signal handlers: in a shared process they are left out"
    if after.log_handlers != before.log_handlers:
        yield "importing it configures the root logger: handlers for the console are muted"
    if after.path != before.path:
        yield "importing it changes sys.path: say `pythonpath`, which holds for its own process alone"
    if getattr(after.handles_exit, "__module__", "uvicorn.server") != "uvicorn.server":
        yield "importing it patches uvicorn's end, which has no part here: streams end when they are to drain"
    if after.folder != before.folder:
        yield f"importing it changes the working folder to {after.folder}: say `cwd`, and isolate it"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
