"""Writes units of systemd: one a component, and a target that stands for them all.

Quoting is that of systemd.service(5), systemd.exec(5) and systemd.syntax(7). Looks where programs
are: a unit has no PATH of a login.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from control_plane.config import Loaded
from control_plane.conversion.exporting.plan import (
    FILLED,
    Process,
    decimal,
    not_said,
    processes,
    require_bus,
)

FOLDER = "systemd"
HOST_MARGIN_S = 10.0  # a host ends by itself once the grace period is over
_RESTARTS = {"always": "always", "on-failure": "on-failure", "never": "no"}
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def export(loaded: Loaded, target: Path) -> dict[str, str]:
    """Return the units by their file names; `target` does not matter, for their paths are absolute.

    Raises:
        ConfigError: they would not run (E1010).
    """
    app = loaded.settings.app.name
    planned = processes(loaded, ctl=(*_ctl(), "--config", str(loaded.path)))
    require_bus(loaded, planned)
    by_name = {process.name: process for process in planned}
    files = {}
    for process in planned:
        wanted = [unit for name in process.depends_on for unit in _instances(app, by_name[name])]
        files[_file_name(app, process)] = _unit(loaded, process, wanted)
    return {f"{app}.target": _target(app, planned), **files}


def quoted(word: str, *, expands_variables: bool = True) -> str:
    """Return one word as it stands for itself in a unit."""
    if word == ";":
        return "\\;"
    text = "".join(_ESCAPES.get(char) or (char if char.isprintable() else _hex(char)) for char in word)
    text = _percent(text)
    if expands_variables:
        text = text.replace("$", "$$")
    plain = word and all(char.isalnum() or char in "-_./=:,@+%$" for char in word)
    return text if plain else f'"{text}"'


def _hex(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())


def _percent(text: str) -> str:
    return text.replace("%", "%%")


def _target(app: str, planned: list[Process]) -> str:
    units = [unit for process in planned for unit in _instances(app, process)]
    lines = [
        "[Unit]",
        f"Description={app}",
        f"Wants={' '.join(units)}",
        "",
        "[Install]",
        "WantedBy=default.target",
    ]
    return "\n".join([*_header(app), *lines, ""])


def _header(app: str) -> list[str]:
    return [
        f"# Written by `ctl export systemd`. {FILLED}",
        "# For one user: copy these files to ~/.config/systemd/user/, then `systemctl --user enable --now "
        f"{app}.target`.",
        "# For the machine: copy them to /etc/systemd/system/, and set User= in each [Service].",
    ]


def _file_name(app: str, process: Process) -> str:
    return f"{app}-{process.name}{'@' if process.copies > 1 else ''}.service"


def _instances(app: str, process: Process) -> list[str]:
    if process.copies == 1:
        return [_file_name(app, process)]
    return [f"{app}-{process.name}@{number}.service" for number in range(1, process.copies + 1)]


def _unit(loaded: Loaded, process: Process, wanted: list[str]) -> str:
    app, spec = loaded.settings.app.name, process.spec
    remarks = [f"# {remark}" for remark in not_said(process, restarts=True, health=True)]
    if "/" not in (program := process.words[0]) and shutil.which(program) is None:
        remarks.append(f"# {program} was not found when this was written: write its whole path in ExecStart.")
    unit = ["[Unit]", f"Description={app}: {process.name}", f"PartOf={app}.target"]
    if wanted:
        unit += [f"Wants={' '.join(wanted)}", f"After={' '.join(wanted)}"]
    # The first start counts too.
    unit += [f"StartLimitIntervalSec={_seconds(spec.restart.window_s)}",
             f"StartLimitBurst={spec.restart.max_restarts + 1}"]  # fmt: skip
    service = [f"{key}={value}" for key, value in _service(loaded, process)]
    return "\n".join([*remarks, *unit, "", "[Service]", *service, ""])


def _service(loaded: Loaded, process: Process) -> Iterator[tuple[str, str]]:
    spec = process.spec
    folder = Path(os.path.normpath(loaded.project / spec.cwd))
    yield "Type", "exec"
    yield "WorkingDirectory", _percent(str(folder))
    if path := os.environ.get("PATH"):  # that of a unit has no folder of the user's own
        yield "Environment", quoted(f"PATH={path}", expands_variables=False)
    for name, value in process.env.items():
        yield "Environment", quoted(f"{name}={value}", expands_variables=False)
    yield "ExecStart", " ".join(quoted(word) for word in _absolute(process.words, folder))
    yield "Restart", _RESTARTS[spec.restart.policy]
    yield "RestartSec", _seconds(spec.restart.backoff_s)
    yield "KillSignal", spec.stop_signal
    yield "KillMode", "mixed"
    yield "TimeoutStopSec", _seconds(spec.grace_period_s + (HOST_MARGIN_S if process.hosted else 0.0))
    if spec.limits.memory_mb is not None:
        yield "MemoryMax", f"{spec.limits.memory_mb}M"


def _seconds(duration_s: float) -> str:
    # A bare 0 is for ever.
    return decimal(duration_s) if duration_s >= 1 else f"{max(round(duration_s * 1000), 1)}ms"


def _ctl() -> tuple[str, ...]:
    beside = Path(sys.executable).parent / "ctl"
    return (str(beside),) if beside.is_file() else (sys.executable, "-m", "control_plane.cli")


def _absolute(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """Return the words with the whole path of their program, where it is found."""
    program = words[0]
    found = os.path.normpath(folder / program) if "/" in program else shutil.which(program)
    return (found or program, *words[1:])
