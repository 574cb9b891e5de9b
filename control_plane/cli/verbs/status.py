"""`ctl status`: prints what runs and how it fares."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable

from contracts.errors import ExitCode
from control_plane.cli.running import choose, control_client
from control_plane.cli.show import print_json, print_json_line, style_of
from control_plane.cli.status_view import Status, status_lines

NAME = "status"
HELP = "Print the state of every component."
EXAMPLES = """\
ctl status                       exits 0 when everything is ready, 3 when not, 4 when nothing runs
ctl status writer critic         asks about these only, and exits accordingly
ctl status --watch               draws again at every change
ctl status --json | jq .ready
until ctl status > /dev/null; do sleep 1; done
"""

ROWS = 24  # of a terminal that does not know its size


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="components to show (default: all)")
    parser.add_argument("--watch", action="store_true", help="draw again at every change, until Ctrl+C")


def run(args: argparse.Namespace) -> int:
    """Ask, and print."""
    client = control_client(args)
    if args.watch:
        return _watch(args, (event.data for event in client.events("/v1/status/stream")))
    status = client.get("/v1/status")
    components = choose(status["components"], args.names)
    if args.json:
        print_json({**status, "components": components})
    else:
        print("\n".join(status_lines(status, components, style_of(sys.stdout, no_color=args.no_color))))
    return _exit_code(args, status)


def _exit_code(args: argparse.Namespace, status: Status) -> int:
    asked = choose(status["components"], args.names)
    ready = all(component["state"] == "ready" for component in asked) if args.names else status["ready"]
    return ExitCode.DONE if ready else ExitCode.NOT_READY


def _watch(args: argparse.Namespace, statuses: Iterable[Status]) -> int:
    """Show every status until the control plane has stopped; the last one decides the exit code."""
    exit_code: int = ExitCode.NOT_READY
    for status in statuses:
        exit_code = _exit_code(args, status)
        components = choose(status["components"], args.names)
        if args.json:
            print_json_line({**status, "components": components})
        else:
            _draw(status_lines(status, components, style_of(sys.stdout, no_color=args.no_color)))
    return exit_code


def _draw(lines: list[str]) -> None:
    if sys.stdout.isatty():
        rows = os.get_terminal_size(sys.stdout.fileno()).lines or ROWS
        if len(lines) >= rows:
            lines = [*lines[: rows - 2], f"… {len(lines) - rows + 2} more lines"]
        # Home, each line cut at the edge (DECAWM) and cleared to its end, then everything below: no flicker,
        # and nothing wraps or scrolls.
        drawn = "".join(f"{line}\x1b[K\n" for line in lines)
        print(f"\x1b[?7l\x1b[H{drawn}\x1b[J\x1b[?7h", end="", flush=True)
    else:
        print("\n".join([*lines, ""]), flush=True)
