"""What start, stop, restart and scale share: one request after the other, waiting for each."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from contracts.errors import ExitCode
from control_plane.cli.client import TIMEOUT_S
from control_plane.cli.running import choose, component_path, control_client
from control_plane.cli.show import print_json
from control_plane.cli.values import positive_duration_s

DEFAULT_WAIT_S = 60.0


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Declare how long to wait."""
    parser.add_argument(
        "--timeout",
        metavar="S",
        type=positive_duration_s,
        default=DEFAULT_WAIT_S,
        help="how long to wait until it is done, in seconds (default: 60)",
    )


def request(args: argparse.Namespace, action: str, wishes: dict[str, dict[str, Any]]) -> int:
    """Request the action of each component, with its body; print what came of each."""
    client = control_client(args)
    choose(client.get("/v1/components"), list(wishes))  # a typo in the last name must not leave half done
    outcomes = []
    for name, body in wishes.items():
        began_s = time.monotonic()
        wish = {**body, "wait_s": args.timeout}
        outcome = client.post(component_path(name, action), wish, timeout_s=args.timeout + TIMEOUT_S)
        outcomes.append(outcome)
        if not args.json:
            print(f"{name}: {action} done in {time.monotonic() - began_s:.1f} s")
            sys.stdout.flush()
    if args.json:
        print_json(outcomes)
    return ExitCode.DONE
