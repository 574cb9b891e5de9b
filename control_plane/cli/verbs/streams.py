"""`ctl streams`: prints the ledger of each stream."""

from __future__ import annotations

import argparse
import sys

from contracts.errors import ControlError, did_you_mean
from control_plane.cli.ledger_view import ledger_lines
from control_plane.cli.running import control_client
from control_plane.cli.show import print_json, style_of

NAME = "streams"
HELP = "Print what became of the messages of each stream."
EXAMPLES = """\
ctl streams                      accepted = acknowledged + left + dead letters, per consumer group
ctl streams chapters             one stream
ctl streams --json | jq '.[] | select(.dead > 0)'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a stream (default: all)")


def run(args: argparse.Namespace) -> int:
    """Ask, and print."""
    ledgers = control_client(args).get("/v1/streams")
    if args.name is not None:
        known = {ledger["stream"] for ledger in ledgers}
        ledgers = [ledger for ledger in ledgers if ledger["stream"] == args.name]
        if not ledgers:
            raise ControlError(
                f"unknown stream '{args.name}'", why=did_you_mean(args.name, known), code="E3003"
            )
    if args.json:
        print_json(ledgers)
    else:
        print("\n".join(ledger_lines(ledgers, style_of(sys.stdout, no_color=args.no_color))))
    return 0
