"""A host without a backend: it says who it is in a file, does what its `config` says, and ends when told.

`config` of its first replica: `exit` ends at once with a code, `crash` raises, `grandchild` starts a
process (`sleep`; "group": in the host's group, "session": out of it, "shell" and "daemon": nobody's child
as well, "nest": a daemon that has one of its own), `deaf` ignores SIGTERM.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from contracts.specs import HostSpec
from control_plane.runtime.environment import take_on


def run(spec: HostSpec) -> int:
    """Run until SIGTERM, or until the anchor is gone; both are written down."""
    take_on(replica.component for replica in spec.replicas)
    wanted = spec.replicas[0].component.config
    asleep, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGTERM, signal.SIG_IGN if wanted.get("deaf") else lambda *_: None)
    grandchild = _start_grandchild(wanted["grandchild"]) if "grandchild" in wanted else None
    print(f"{spec.id} on stdout")
    _write(spec, "started", _describe(grandchild, own={asleep.fileno(), waker.fileno()}))
    if wanted.get("crash"):
        raise RuntimeError("told to crash")
    if "exit" in wanted:
        return int(wanted["exit"])
    with selectors.DefaultSelector() as selector:
        selector.register(asleep, selectors.EVENT_READ, "sigterm")
        if spec.lifeline_fd is not None:
            selector.register(spec.lifeline_fd, selectors.EVENT_READ, "lifeline")
        reasons = [key.data for key, _ in selector.select()]
    _write(spec, "ended", {"reason": reasons[0]})
    return 0


def _describe(grandchild: int | None, own: set[int]) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "group": os.getpgid(0),
        "grandchild": grandchild,
        "random": random.random(),
        "modules": sorted(name for name in sys.modules if name.startswith("sample_")),
        "mark": os.environ.get("MARK", ""),
        "cwd": os.getcwd(),
        "files": _open_files(own),
    }


def _open_files(own: set[int]) -> dict[str, str]:
    files = {}
    for fd in os.listdir("/proc/self/fd"):
        # The folder that is being listed is gone by now.
        with contextlib.suppress(FileNotFoundError):
            files[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return {fd: target for fd, target in files.items() if int(fd) not in own}


# A daemon in the old way: the second fork of a session's leader, whose parent goes.
_DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if (pid := os.fork()) == 0:
        os.execvp("sleep", ["sleep", "600"])
    print(pid, flush=True)
    os._exit(0)
os.wait()
"""
LEAVING = {
    "shell": ["sh", "-c", "setsid sleep 600 > /dev/null & echo $!"],
    "nest": ["setsid", "sh", "-c", "(setsid sh -c 'setsid sleep 600 & echo $!; sleep 600 > /dev/null' &)"],
    "daemon": [sys.executable, "-c", _DAEMON],
}


def _start_grandchild(where: str) -> int:
    if where in LEAVING:
        with subprocess.Popen(LEAVING[where], stdout=subprocess.PIPE) as started:
            assert started.stdout is not None
            return int(started.stdout.readline())
    return subprocess.Popen(["sleep", "600"], start_new_session=where == "session").pid


def _write(spec: HostSpec, what: str, content: dict[str, Any]) -> None:
    target = Path(spec.home) / f"{spec.id}.{what}.json"
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(target)


if __name__ == "__main__":
    sys.exit(run(HostSpec.model_validate_json(sys.stdin.buffer.read())))
