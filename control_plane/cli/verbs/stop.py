"""`ctl stop`: drains and stops everything, or some components."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from contracts.errors import ControlError, CoplaneError, ExitCode, NotDoneInTime
from control_plane.cli.process_end import end_of
from control_plane.cli.requesting import add_timeout, request
from control_plane.cli.running import control_client
from control_plane.cli.show import print_json, show_error, style_of
from control_plane.cli.status_view import changes, replica_states
from control_plane.cli.stop_view import stop_lines, verdict

if TYPE_CHECKING:
    from control_plane.cli.client import ControlClient

NAME = "stop"
HELP = "Drain and stop everything, or some components."
EXAMPLES = """\
ctl stop                         everything; says what was accepted, acknowledged and left, per stream
ctl stop writer                  until `ctl start writer`
ctl stop --json | jq .ok
"""
EXIT_TIMEOUT_S = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="components to stop (default: everything)")
    add_timeout(parser)


def run(args: argparse.Namespace) -> int:
    """Stop, and print what came of it."""
    if args.names:
        return request(args, "stop", {name: {} for name in args.names})
    client = control_client(args)
    status = client.get("/v1/status")
    with end_of(status["control_plane"]["pid"]) as end:
        report = _stop(client, replica_states(status), quiet=args.json)
        _print(args, report)
        if not end.wait(EXIT_TIMEOUT_S):
            raise NotDoneInTime(
                f"everything is stopped, but the launch has not ended within {EXIT_TIMEOUT_S:g} s",
                fix=f"Look at process {status['control_plane']['pid']}",
            )
    error = verdict(report)
    if error:
        show_error(error, as_json=args.json)
    return ExitCode.FAILED if error else ExitCode.DONE


def _stop(client: ControlClient, states: dict[str, str], *, quiet: bool) -> dict[str, Any]:
    """Ask for the stop, show progress, return the report."""
    for line in client.lines("/v1/stop"):
        match line["event"]:
            case "progress":
                for change in () if quiet else changes(states, line["status"]):
                    print(change, file=sys.stderr, flush=True)
                states = replica_states(line["status"])
            case "stopped":
                report: dict[str, Any] = line["report"]
                return report
            case "error":
                raise CoplaneError.from_dict(line["error"])
    raise ControlError(
        "the control plane went away before everything was stopped",
        fix="See control.log; `ctl launch` takes over what still runs",
        code="E3003",
    )


def _print(args: argparse.Namespace, report: dict[str, Any]) -> None:
    if args.json:
        print_json(report)
    else:
        print("\n".join(stop_lines(report, style_of(sys.stdout, no_color=args.no_color))), flush=True)
