"""Examines a component in an interpreter of its own: its code may hang, crash, or end the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from contracts.errors import ComponentError
from contracts.specs import ComponentSpec
from control_plane.diagnosis.findings import Finding

PROBE = "control_plane.diagnosis.probe"
LAST_LINES = 20


def examine(spec: ComponentSpec, project: Path, *, timeout_s: float) -> Finding:
    """Import what the component names, as a host of its own would, and say what it is.

    Args:
        timeout_s: how long the import may take.
    """
    command = [sys.executable, "-P", "-m", PROBE, str(project)]
    try:
        done = subprocess.run(
            command,
            input=spec.model_dump_json(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        error = ComponentError(
            f"component '{spec.name}': importing it takes longer than {timeout_s:g} s",
            fix="see what it does at import, or raise `--timeout`",
            code="E2004",
        )
        return Finding(component=spec.name, error=error.as_dict())
    *printed, last = done.stdout.splitlines() or [""]
    try:
        return Finding.model_validate_json(last)
    except ValueError:
        said = "\n".join([*printed, last, *done.stderr.splitlines()][-LAST_LINES:]).strip()
        error = ComponentError(
            f"component '{spec.name}': importing it ended the process with exit code {done.returncode}",
            why=said or "it said nothing",
            fix="a host would end in the same way: mend the module",
            code="E2004",
        )
        return Finding(component=spec.name, error=error.as_dict())
