"""What start, stop, restart, scale and move share: requests at the same time, and what came of each."""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from contracts.errors import CoplaneError, ExitCode
from control_plane.cli.client import TIMEOUT_S, ControlClient
from control_plane.cli.running import choose, component_path, control_client
from control_plane.cli.show import print_json, show_error
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
    """Request the action of all components at once, each with its body; print what came of each.

    Raises:
        CoplaneError: what the first of them failed with, after every other one has its outcome.
    """
    client = control_client(args)
    choose(client.get("/v1/components"), list(wishes))  # a typo in the last name must not leave half done

    def ask(wish: tuple[str, dict[str, Any]]) -> _Outcome:
        return _ask(client, action, *wish, timeout_s=args.timeout)

    with ThreadPoolExecutor(max_workers=max(1, len(wishes))) as pool:
        outcomes = []
        for outcome in pool.map(ask, wishes.items()):
            outcomes.append(outcome)
            if not args.json and outcome.error is None:
                print(f"{outcome.component}: {action} done in {outcome.duration_s:.1f} s", flush=True)
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed[1:]:
        if not args.json and outcome.error is not None:
            show_error(outcome.error, as_json=False)
    if failed and failed[0].error is not None:
        raise failed[0].error
    if args.json:
        print_json([outcome.answer for outcome in outcomes])
    return ExitCode.DONE


@dataclass(frozen=True)
class _Outcome:
    component: str
    duration_s: float
    answer: Any = None
    error: CoplaneError | None = None


def _ask(
    client: ControlClient, action: str, name: str, body: dict[str, Any], *, timeout_s: float
) -> _Outcome:
    began_s = time.monotonic()
    answer, error = None, None
    try:
        wish = {**body, "wait_s": timeout_s}
        answer = client.post(component_path(name, action), wish, timeout_s=timeout_s + TIMEOUT_S)
    except CoplaneError as exc:
        error = exc
    return _Outcome(name, time.monotonic() - began_s, answer, error)
