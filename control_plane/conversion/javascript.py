"""Evaluates a JavaScript configuration with node, as the tool it belongs to does.

Its code is run. What it prints is of no account: the value is handed over in a file.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from control_plane.conversion.reading import malformed, read_text

DEADLINE_S = 20.0
_SHOWN_CHARS = 2_000
_PROGRAM = """
const [source, target] = process.argv.slice(1);
import(require("url").pathToFileURL(source).href).then(module => {
  require("fs").writeFileSync(target, String(JSON.stringify(module.default ?? module)));
  process.exit(0);
}).catch(error => { console.error(error && error.stack || error); process.exit(1); });
"""


def evaluate(path: Path, *, deadline_s: float = DEADLINE_S) -> Any:
    """Return what the module exports.

    Raises:
        ConfigError: there is no such file or no node (E1006), or it throws or does not end (E1002).
    """
    read_text(path)
    node = shutil.which("node")
    if node is None:
        raise ConfigError(
            f"cannot read {path.name}",
            why="It is JavaScript, and there is no `node` on the PATH to evaluate it",
            fix="Install Node.js, or write it as JSON where it is: "
            f"node -p 'JSON.stringify(require(\"./{path.name}\"))' > ecosystem.config.json",
            code="E1006",
        )
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "value.json"
        errors = Path(folder) / "stderr"
        command = [node, "-e", _PROGRAM, str(path.absolute()), str(target)]
        try:
            exit_code = _run(command, path.absolute().parent, errors=errors, deadline_s=deadline_s)
        except subprocess.TimeoutExpired as exc:
            why = f"Evaluating it did not end within {deadline_s:g} s"
            raise malformed(path, why, fix="Look for what it waits for") from exc
        if exit_code or not target.is_file():
            raise _thrown(path, errors.read_text(encoding="utf-8", errors="replace"))
        text = target.read_text(encoding="utf-8")
    if text == "undefined":
        raise malformed(path, "It exports nothing that could be written as JSON")
    return json.loads(text)


def _run(command: Sequence[str], folder: Path, *, errors: Path, deadline_s: float) -> int:
    # A file and no pipe: what the configuration starts may hold that open for as long as it likes.
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
    try:
        return process.wait(deadline_s)
    except BaseException:
        if process.returncode is None:  # not reaped yet, so the number is still its own
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise


def _thrown(path: Path, stderr: str) -> ConfigError:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    what = next((line for line in lines if "Error" in line), lines[0] if lines else "node says nothing")
    return ConfigError(
        f"cannot import {path.name}", why=f"Evaluating it failed: {what}", code="E1002",
        detail=stderr[-_SHOWN_CHARS:],
    )  # fmt: skip
