"""`ctl scale`: sets how many replicas components have."""

from __future__ import annotations

import argparse

from control_plane.cli.requesting import add_timeout, request
from control_plane.cli.values import name_and_number

NAME = "scale"
HELP = "Set how many replicas components have."
EXAMPLES = """\
ctl scale writer=3               returns when all three are ready
ctl scale writer=1 critic=2
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "wishes",
        nargs="+",
        metavar="NAME=N",
        type=name_and_number,
        help="a component and a number of replicas",
    )
    add_timeout(parser)


def run(args: argparse.Namespace) -> int:
    """Request it, and wait."""
    return request(args, "scale", {name: {"replicas": number} for name, number in args.wishes})
