"""The composition root: builds a backend for a mode, runs it, and cleans up after it.

The only place where memory or Redis, this process or another, is chosen. It leaves nothing behind:
whatever way a launch ends, hosts, sockets and the lock are gone when `run_launch` returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from contracts.errors import CoplaneError, first_of
from contracts.specs import Mode
from control_plane.launch_options import LaunchOptions, LaunchReporter
from control_plane.launcher.blueprint import Blueprint, beside_what_runs, draw_blueprint
from control_plane.runtime.paths import RuntimeDir


def run_launch(options: LaunchOptions, reporter: LaunchReporter) -> int:
    """Launch the backend and stay until it has stopped.

    Returns:
        The exit code of `ctl launch`.
    """
    exit_code = 0
    try:
        blueprint = draw_blueprint(options)
        with _occupied(blueprint.runtime):
            blueprint = beside_what_runs(blueprint)
            reporter.starting(blueprint.settings.app.name, str(blueprint.mode), blueprint.mode_reason)
            exit_code = _run(blueprint, reporter)
    except* CoplaneError as errors:
        error = first_of(errors)
        reporter.error(error)
        exit_code = int(error.exit_code)
    return exit_code


def _run(blueprint: Blueprint, reporter: LaunchReporter) -> int:
    # Each loads what it needs: one process needs no anchor, and with a bus in memory no client of one.
    if blueprint.mode is Mode.SINGLE:
        from control_plane.launcher.one_process import run_in_one_process

        return run_in_one_process(blueprint, reporter)
    from control_plane.launcher.many_processes import run_in_processes

    return run_in_processes(blueprint, reporter)


@contextlib.contextmanager
def _occupied(runtime: RuntimeDir) -> Iterator[None]:
    with runtime.acquire_lock():
        try:
            yield
        finally:
            runtime.remove_ephemeral()
