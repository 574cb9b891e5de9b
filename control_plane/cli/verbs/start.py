"""`ctl start`: starts components that were stopped or have failed."""

from __future__ import annotations

import argparse

from control_plane.cli.requesting import add_timeout, request

NAME = "start"
HELP = "Start components that were stopped or have failed."
EXAMPLES = """\
ctl start writer                 returns when the writer is ready
ctl start writer critic --timeout 10
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a component")
    add_timeout(parser)


def run(args: argparse.Namespace) -> int:
    """Request it, and wait."""
    return request(args, "start", {name: {} for name in args.names})
