"""`ctl events`: prints what hosts report."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from control_plane.cli.running import control_client
from control_plane.cli.show import Style, print_json_line

NAME = "events"
HELP = "Print the events that hosts report."
EXAMPLES = """\
ctl events                                   what is kept of the past
ctl events -f --type component.transitioned  as it happens
ctl events --component writer --json | jq .data
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on as events happen, until Ctrl+C")
    parser.add_argument(
        "--type",
        metavar="T",
        action="append",
        dest="types",
        help="only this type; may be given more than once",
    )
    parser.add_argument("--component", metavar="NAME", help="only this component")


def run(args: argparse.Namespace) -> int:
    """Ask, and print one line for each."""
    wanted = {"follow": args.follow, "type": args.types or [], "component": args.component or []}
    target = "/v1/events?" + urlencode(wanted, doseq=True)
    for event in control_client(args).events(target):
        if args.json:
            print_json_line(event.data)
        else:
            print(_line(event.data), flush=args.follow)
    return 0


def _line(event: Mapping[str, Any]) -> str:
    who = event.get("replica") or event.get("component") or "-"
    text = f"{event.get('at', ''):<24} {event.get('type', '-'):<23} {who:<18} {_summary(event)}"
    return Style(colour=False).harmless(text.replace("\n", " "))


def _summary(event: Mapping[str, Any]) -> str:
    """Return what a person wants to know of the payload; `--json` has all of it."""
    data = event["data"]
    if not isinstance(data, dict):
        return str(data)
    match event.get("type"):
        case "host.heartbeat":
            states = Counter(replica.get("state") for replica in data.get("replicas", []))
            return f"{data.get('host')}: {', '.join(f'{count} {state}' for state, count in states.items())}"
        case "component.transitioned":
            reason = f" ({data['reason']})" if data.get("reason") else ""
            return f"{data.get('from_state')} -> {data.get('to_state')}{reason}"
        case "loop.blocked":
            return f"{data.get('duration_ms')} ms at {data.get('culprit')} ({data.get('hint')})"
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
