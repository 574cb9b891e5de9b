"""`ctl restart`: replaces every replica of components by a new one."""

from __future__ import annotations

import argparse

from control_plane.cli.requesting import add_timeout, request

NAME = "restart"
HELP = "Replace every replica of components by a new one."
EXAMPLES = """\
ctl restart writer               drains the old replicas, returns when the new ones are ready
ctl restart writer critic        one component after the other
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a component")
    add_timeout(parser)


def run(args: argparse.Namespace) -> int:
    """Request it, and wait."""
    return request(args, "restart", {name: {} for name in args.names})
