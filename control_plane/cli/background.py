"""Runs `ctl launch` in the background, and relays its progress until it is ready or has failed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from contracts.errors import CoplaneError, ExitCode, LaunchError, NotReadyInTime
from contracts.status import AppStatus
from control_plane.cli.process_end import end_of
from control_plane.launch_options import LaunchOptions, LaunchReporter

# On top of the launch's own deadline: for the interpreter's start, and the drain of what is not ready.
MARGIN_S = 60.0
CHUNK_BYTES = 65_536
LOOK_S = 0.2  # where the system does not tell of a process's end
LOG_NAME = "launch.log"


def launch_detached(options: LaunchOptions, reporter: LaunchReporter, *, logs: Path) -> int:
    """Launch in a session of its own; return when it is ready, or with its exit code.

    Raises:
        LaunchError: it ended without saying why, or nothing was heard of it in time (E2008).
    """
    read_fd, write_fd = os.pipe()
    try:
        child = _start(options, write_fd, logs / LOG_NAME)
    finally:
        os.close(write_fd)
    with open(read_fd, "rb", buffering=0) as pipe:
        try:
            events = _events(child, pipe.fileno(), options.timeout_s + MARGIN_S)
            return _relay(child, events, reporter, log=logs / LOG_NAME)
        except KeyboardInterrupt:
            # Its session is another, so the terminal has not told it.
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(MARGIN_S)
            return ExitCode.INTERRUPTED


def command(options: LaunchOptions, report_fd: int) -> list[str]:
    """Return the command line of the launch that reports to the pipe."""
    chosen: dict[str, str | None] = {
        "--mode": options.mode,
        "--profile": options.profile,
        "--only": ",".join(options.only) or None,
        "--exclude": ",".join(options.exclude) or None,
        "--config": str(options.config) if options.config else None,
        "--timeout": str(options.timeout_s),
        "--report-fd": str(report_fd),
    }
    given = [text for flag, value in chosen.items() if value is not None for text in (flag, value)]
    return [sys.executable, "-m", "control_plane.cli", "launch", *given, "--", *options.names]


def _start(options: LaunchOptions, write_fd: int, log: Path) -> subprocess.Popen[bytes]:
    with open(log, "wb") as output:
        return subprocess.Popen(
            command(options, write_fd),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(write_fd,),
            start_new_session=True,
        )


def _relay(
    child: subprocess.Popen[bytes],
    events: Iterator[Mapping[str, Any]],
    reporter: LaunchReporter,
    *,
    log: Path,
) -> int:
    error: CoplaneError | None = None
    for event in events:
        match event["event"]:
            case "starting":
                reporter.starting(event["app"], event["mode"], event["reason"])
            case "progress":
                reporter.progress(AppStatus.model_validate(event["status"]), event["elapsed_s"])
            case "component_failed":
                reporter.component_failed(event["component"], event["error"])
            case "error":
                error = CoplaneError.from_dict(event["error"])
                reporter.error(error)
            case "ready":
                status = AppStatus.model_validate(event["status"])
                reporter.ready(status, event["elapsed_s"])
                return ExitCode.DONE if status.ready else ExitCode.FAILED
    if error is None:
        raise _silent_end(child.wait(), log)
    return child.wait()


def _silent_end(exit_code: int, log: Path) -> LaunchError:
    how = f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
    return LaunchError(f"the launch in the background ended with {how} before it was ready", fix=f"see {log}")


def _events(child: subprocess.Popen[bytes], pipe_fd: int, timeout_s: float) -> Iterator[Mapping[str, Any]]:
    """Iterate over what the child reports, until it has ended."""
    deadline_s = time.monotonic() + timeout_s
    held = b""
    with end_of(child.pid) as end:
        watched = {pipe_fd} if end.pidfd is None else {pipe_fd, end.pidfd}
        while time.monotonic() < deadline_s:
            ready = _wait(watched, deadline_s if end.pidfd is not None else time.monotonic() + LOOK_S)
            chunk = os.read(pipe_fd, CHUNK_BYTES) if pipe_fd in ready else b""
            *lines, held = (held + chunk).split(b"\n")
            yield from map(json.loads, lines)
            # The end of the child counts, not that of the pipe, which its own children may hold open.
            if not chunk and child.poll() is not None:
                return
            if pipe_fd in ready and not chunk:
                watched.discard(pipe_fd)
    raise NotReadyInTime(
        f"nothing was heard in time of the launch in the background (process {child.pid})",
        fix=f"See {LOG_NAME} in the folder of logs, or run `ctl stop`",
    )


def _wait(fds: set[int], until_s: float) -> set[int]:
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return {fd for fd, _ in poller.poll(max(0.0, until_s - time.monotonic()) * 1_000)}
