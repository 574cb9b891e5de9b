"""`ctl move`: has the replicas of a component run in another process, while they go on serving."""

from __future__ import annotations

import argparse

from control_plane.cli.requesting import add_timeout, request

NAME = "move"
HELP = "Move a component into a process of its own, or into that of a group."
EXAMPLES = """\
ctl move writer --to isolated    a process for each replica: a fault of others does not reach it
ctl move writer --to agents      into the process of the group `agents`: less memory
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a component")
    parser.add_argument(
        "--to", required=True, metavar="PLACE", help="`isolated`, or a group of the configuration"
    )
    add_timeout(parser)


def run(args: argparse.Namespace) -> int:
    """Request it, and wait."""
    return request(args, "move", {name: {"to": args.to} for name in args.names})
