"""`ctl launch`: runs the backend in the mode asked for."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from control_plane.cli.show import style_of
from control_plane.cli.values import names, positive_duration_s

if TYPE_CHECKING:
    from control_plane.launch_options import LaunchOptions, LaunchReporter

NAME = "launch"
HELP = "Run the backend: in one process, or in many."
EXAMPLES = """\
ctl launch                               as ctl.toml says; Ctrl+C drains and stops, twice forces
ctl launch --mode multi                  a process for each replica
ctl launch writer --exclude critic       some components, and what they depend on
ctl launch --detach && ctl logs -f       in the background, back when it is ready
ctl launch --mode hybrid --dry-run       says what would run where, and starts nothing
"""
MODES = ("single", "multi", "hybrid", "auto")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from control_plane.launch_options import LaunchOptions

    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="components, with what they depend on (default: all)"
    )
    parser.add_argument("--mode", choices=MODES, help="how replicas are placed into processes")
    parser.add_argument("--profile", metavar="P", help="the components of this profile")
    parser.add_argument(
        *("--only", "--components", "--services", "--agents"),
        dest="only",
        action="extend",
        metavar="A,B",
        type=names,
        default=[],
        help='these components, like NAME; as A,B or as \'["A", "B"]\'; a group stands for all of it',
    )
    parser.add_argument(
        "--exclude", action="extend", metavar="A,B", type=names, default=[], help="not these components"
    )
    parser.add_argument("--detach", action="store_true", help="run in the background; return when ready")
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would run where, and start nothing"
    )
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=positive_duration_s,
        default=LaunchOptions.timeout_s,
        help="how long it may take to get ready, in seconds (default: 60)",
    )
    # How a launch in the background reports to the one that started it.
    parser.add_argument("--report-fd", type=int, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Launch, and stay until everything has stopped."""
    options = _options(args)
    if args.dry_run:
        from control_plane.cli.dry_run import print_plan

        return print_plan(options, as_json=args.json)
    if args.detach:
        from control_plane.cli.background import launch_detached
        from control_plane.cli.running import runtime_dir
        from control_plane.runtime.paths import RuntimeDir

        runtime = RuntimeDir.open(runtime_dir(args).project, os.environ)
        return launch_detached(options, _reporter(args), logs=runtime.logs)
    # Imports make objects that stay: to look for garbage among them takes a tenth of the start.
    gc.disable()
    try:
        reporter = _reporter(args)
        from control_plane.launcher import run_launch

        return run_launch(options, reporter)
    finally:
        gc.enable()


def _options(args: argparse.Namespace) -> LaunchOptions:
    from control_plane.launch_options import LaunchOptions

    return LaunchOptions(
        names=tuple(args.names),
        mode=args.mode,
        profile=args.profile,
        only=tuple(args.only),
        exclude=tuple(args.exclude),
        config=Path(args.config) if args.config else None,
        timeout_s=args.timeout,
        follow_logs=args.report_fd is None,
    )


def _reporter(args: argparse.Namespace) -> LaunchReporter:
    if args.report_fd is not None:
        from control_plane.cli.reporters.relayed import RelayedReporter

        return RelayedReporter(args.report_fd, sys.stderr)
    if args.json:
        from control_plane.cli.reporters.json_lines import JsonReporter

        return JsonReporter(sys.stdout)
    style = style_of(sys.stdout, no_color=args.no_color)
    if sys.stderr.isatty():
        from control_plane.cli.reporters.terminal import TerminalReporter

        return TerminalReporter(sys.stdout, sys.stderr, style=style)
    from control_plane.cli.reporters.lines import LineReporter

    return LineReporter(sys.stdout, sys.stderr, style=style)
