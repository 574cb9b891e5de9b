"""Writes a Procfile, for foreman, honcho and their like."""

from __future__ import annotations

import shlex
from pathlib import Path

from control_plane.config import Loaded
from control_plane.conversion.exporting.plan import (
    FILLED,
    Process,
    from_folder,
    not_said,
    processes,
    refuse_line_breaks,
    require_bus,
    unique,
)

FILE_NAME = "Procfile"


def export(loaded: Loaded, target: Path) -> dict[str, str]:
    """Return the Procfile for the folder `target`.

    Raises:
        ConfigError: it would not run, or says what a line cannot hold (E1010).
    """
    ctl = ("ctl",) if _is_found_there(loaded, target) else ("ctl", "--config", str(loaded.path))
    planned = processes(loaded, ctl=ctl)
    require_bus(loaded, planned)
    for process in planned:
        refuse_line_breaks(process, language="a Procfile")
    remarks = [f"Written by `ctl export procfile` from {loaded.path.name}. {FILLED}"]
    remarks += [remark for each in planned for remark in not_said(each, restarts=False, health=False)]
    lines = [f"# {remark}" for remark in remarks]
    taken = {process.name for process in planned}
    for process in planned:
        line = _line(process, loaded.project, target)
        lines += [f"{name}: {line}" for name in _names(process, taken)]
    return {FILE_NAME: "\n".join([*lines, ""])}


def _is_found_there(loaded: Loaded, target: Path) -> bool:
    return target == loaded.project and loaded.path.name == "ctl.toml"


def _names(process: Process, taken: set[str]) -> list[str]:
    more = [unique(f"{process.name}-{number}", taken) for number in range(2, process.copies + 1)]
    return [process.name, *more]


def _line(process: Process, project: Path, target: Path) -> str:
    folder = from_folder(process.spec.cwd or ".", project, target)
    goes = folder != "." and not process.hosted  # a host goes there by itself
    variables = [f"{name}={shlex.quote(value)}" for name, value in process.env.items()]
    if process.words[:2] == ("sh", "-c") and len(process.words) == 3 and not (variables or goes):
        return process.words[2]  # whoever runs a Procfile hands its lines to a shell
    # A shell that stays would keep the signal to itself.
    program = " ".join(["exec", *(["env", *variables] if variables else []), shlex.join(process.words)])
    return f"cd {shlex.quote(folder)} && {program}" if goes else program
