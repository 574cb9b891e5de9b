"""Starts the anchor: a small process that holds hosts, public socket and Valkey, and outlives the launcher.

It is forked from the launcher before any thread or event loop exists, so that all processes share the
memory of what was imported; where a fork is not safe, the same process goes on in a new interpreter. Nothing
of the users' is ever imported here, see `images`.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from contracts.errors import ExitCode
from control_plane.runtime import children, clock, host_logging, images, processes
from control_plane.runtime.anchor_loop import Anchor
from control_plane.runtime.anchor_protocol import AnchorOptions, Record
from control_plane.runtime.paths import RuntimeDir
from control_plane.runtime.valkey import EmbeddedValkey, find_server, wait_ready

__all__ = ["AnchorOptions", "start_anchor", "start_anchor_anew"]

BACKLOG = 128
BUS_READY_TIMEOUT_S = 10.0
FIRST_FD = 3
START_METHOD = "CTL_START_METHOD"
COMMAND = [sys.executable, "-P", "-m", "control_plane.runtime.anchor"]


class Handover(Record):
    """What an anchor is given that begins in a new interpreter."""

    options: AnchorOptions
    listener_fd: int


def start_anchor(options: AnchorOptions) -> int:
    """Fork the anchor and return its process id; it answers as soon as everything is imported.

    Call it while this process has one thread and no event loop, and holds the lock of the folder.

    Raises:
        LaunchError: Valkey is wanted, and there is none for this platform (E2011).
    """
    if options.valkey:
        find_server()
    # Listening before the fork: whoever connects from now on waits for the answer, not for the socket.
    listener = _listen(_runtime_of(options).anchor_socket)
    children.flush_output()
    pid = os.fork()
    if pid == 0:
        _to_the_end(lambda: _live_as_anchor(options, listener))
    listener.close()
    return pid


def start_anchor_anew(options: AnchorOptions) -> int:
    """Start an anchor in a new interpreter, and return its process id.

    For a launch that has run already: its image holds an event loop's state (libuv's files above all, which
    their number alone identifies in a fork), and perhaps threads.

    Raises:
        LaunchError: Valkey is wanted, and there is none for this platform (E2011).
    """
    if options.valkey:
        find_server()
    runtime = _runtime_of(options)
    listener = _listen(runtime.anchor_socket)
    handover = Handover(options=options, listener_fd=listener.fileno())
    with listener, tempfile.TemporaryFile() as stdin, open(runtime.logs / "anchor.log", "ab") as output:
        stdin.write(handover.model_dump_json().encode())
        stdin.seek(0)
        started = subprocess.Popen(
            COMMAND,
            stdin=stdin,
            stdout=output,
            stderr=output,
            pass_fds=_inherited(handover),
            start_new_session=True,
        )
    started.returncode = 0  # lest it is reaped behind the back of whoever ends it by its id
    return started.pid


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    previous = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(previous)
    listener.listen(BACKLOG)
    return listener


def _live_as_anchor(options: AnchorOptions, listener: socket.socket) -> None:
    _leave_launcher(options, listener)
    handover = Handover(options=options, listener_fd=listener.detach())
    if not _forks():
        _start_over(handover)
    _serve(handover)


def _to_the_end(live: Callable[[], None]) -> NoReturn:
    """Run without ever returning into the launcher's frames, and leave its exit functions to it."""
    code = ExitCode.FAILED
    try:
        live()
        code = ExitCode.DONE
    except BaseException:  # the end of the process: there is nobody above to raise it to
        traceback.print_exc()
    finally:
        os._exit(code)


def _forks() -> bool:
    """Tell whether hosts are forked: elsewhere than on Linux, system libraries do not survive it."""
    return sys.platform == "linux" and os.environ.get(START_METHOD) != "spawn"


def _leave_launcher(options: AnchorOptions, listener: socket.socket) -> None:
    os.setsid()
    # What the launcher registered is for the launcher to do.
    atexit._clear()
    children.reset_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    children.redirect(_runtime_of(options).logs / "anchor.log")
    kept = {listener.fileno(), *options.public_fds}
    # Above all the launcher's lock: it would outlive the launcher here.
    for fd in map(int, os.listdir("/dev/fd")):
        if fd >= FIRST_FD and fd not in kept:
            with contextlib.suppress(OSError):
                os.close(fd)


def _start_over(handover: Handover) -> NoReturn:
    with tempfile.TemporaryFile() as stdin:
        stdin.write(handover.model_dump_json().encode())
        stdin.seek(0)
        os.dup2(stdin.fileno(), 0)
    for fd in _inherited(handover):
        os.set_inheritable(fd, True)
    os.execv(sys.executable, COMMAND)


def _inherited(handover: Handover) -> list[int]:
    return [handover.listener_fd, *handover.options.public_fds]


def _serve(handover: Handover) -> None:
    options = handover.options
    runtime = _runtime_of(options)
    _log_to_stderr()
    os.chdir(options.project)
    bus = EmbeddedValkey(runtime) if options.valkey else None
    if bus:
        bus.start(clock.now_s())
    images.freeze()
    children.adopt_orphans()
    anchor = Anchor(
        options,
        runtime,
        listener=socket.socket(fileno=handover.listener_fd),
        forks=_forks(),
        bus=bus,
    )
    if bus:
        wait_ready(runtime.bus_socket, timeout_s=BUS_READY_TIMEOUT_S, alive=lambda: _runs(bus.pid))
    anchor.run()


def _runs(pid: int | None) -> bool:
    """Tell whether a child runs, without reaping it."""
    child = processes.find(pid) if pid is not None else None
    return child is not None and processes.lives(child)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(host_logging.JsonLines())
    logging.getLogger().setLevel(logging.INFO)
    host_logging.put_above_root(handler)


def _runtime_of(options: AnchorOptions) -> RuntimeDir:
    return RuntimeDir(home=Path(options.home), project=Path(options.project), sockets=Path(options.sockets))


def main() -> None:
    """Go on as the anchor whose state comes on standard input."""
    handover = Handover.model_validate_json(sys.stdin.buffer.read())
    children.reset_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    children.redirect(_runtime_of(handover.options).logs / "anchor.log")
    for fd in _inherited(handover):
        os.set_inheritable(fd, False)
    if _forks():
        images.import_base()
    _serve(handover)


if __name__ == "__main__":
    _to_the_end(main)
