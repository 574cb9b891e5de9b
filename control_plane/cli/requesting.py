"""What start, stop, restart, scale and move share: requests at the same time, and what came of each."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from contracts.errors import CoplaneError, ExitCode
from control_plane.cli.running import choose, component_path, control_client
from control_plane.cli.show import print_json, show_error
from control_plane.cli.values import positive_duration_s

if TYPE_CHECKING:
    from control_plane.cli.client import ControlClient

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

    failed: list[CoplaneError] = []
    answers = []
    for outcome in _outcomes(client, action, wishes, timeout_s=args.timeout):
        if outcome.error is not None:
            failed.append(outcome.error)
            continue
        answers.append(outcome.answer)
        if not args.json:
            print(f"{outcome.component}: {action} done in {outcome.duration_s:.1f} s", flush=True)
    if args.json:
        print_json(answers)
    for error in failed[1:]:
        show_error(error, as_json=args.json)
    if failed:
        raise failed[0]
    return ExitCode.DONE


class _Outcome(NamedTuple):
    component: str
    duration_s: float
    answer: Any = None
    error: CoplaneError | None = None


def _outcomes(
    client: ControlClient, action: str, wishes: dict[str, dict[str, Any]], *, timeout_s: float
) -> Iterator[_Outcome]:
    """Ask for all at the same time; yield what came of each as it comes."""
    import queue
    import threading

    done: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()

    def ask(name: str, body: dict[str, Any]) -> None:
        done.put(_ask(client, action, name, body, timeout_s=timeout_s))

    for wish in wishes.items():
        # Daemons: Ctrl+C ends the command at once, and leaves what was asked for to the control plane.
        threading.Thread(target=ask, args=wish, daemon=True).start()
    for _ in wishes:
        yield done.get()


def _ask(
    client: ControlClient, action: str, name: str, body: dict[str, Any], *, timeout_s: float
) -> _Outcome:
    from control_plane.cli.client import TIMEOUT_S

    began_s = time.monotonic()
    answer, error = None, None
    try:
        wish = {**body, "wait_s": timeout_s}
        answer = client.post(component_path(name, action), wish, timeout_s=timeout_s + TIMEOUT_S)
    except CoplaneError as exc:
        error = exc
    return _Outcome(name, time.monotonic() - began_s, answer, error)
