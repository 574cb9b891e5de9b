"""`ctl restart`: replaces every replica of components by a new one."""

from __future__ import annotations

import argparse

from control_plane.cli.requesting import add_timeout, request

NAME = "restart"
HELP = "Replace every replica of components by a new one."
EXAMPLES = """\
ctl restart writer               one by one: no request and no event is lost
ctl restart writer critic        both components at the same time
ctl restart writer --at-once     stops the old replicas first, for what cannot run twice
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="a component")
    manner = parser.add_mutually_exclusive_group()
    manner.add_argument(
        "--rolling",
        dest="rolling",
        action="store_true",
        default=True,
        help="start a new replica before an old one is drained (the default)",
    )
    manner.add_argument(
        "--at-once", dest="rolling", action="store_false", help="drain every old replica, then start new ones"
    )
    add_timeout(parser)


def run(args: argparse.Namespace) -> int:
    """Request it, and wait."""
    return request(args, "restart", {name: {"rolling": args.rolling} for name in args.names})
