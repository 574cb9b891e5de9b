"""`ctl why`: tells the story of a component in one screen."""

from __future__ import annotations

import argparse
import sys
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from contracts.errors import CoplaneError, NoControlPlane
from control_plane.cli.running import choose, control_client, runtime_dir
from control_plane.cli.show import print_json, style_of
from control_plane.cli.values import duration_s
from control_plane.cli.why_view import story, story_lines

if TYPE_CHECKING:
    from control_plane.cli.client import ControlClient

NAME = "why"
HELP = "Tell why a component is as it is, and what to do."
EXAMPLES = """\
ctl why writer                   its state, what happened, its last log lines, what to do
ctl why writer-2                 the same, of one replica first
ctl why writer --since 10m --json | jq .sentence
"""
_EVENTS_READ = 300
_TYPES = ("component.transitioned", "command.completed", "command.failed", "loop.blocked")
_WARNINGS_SHOWN = 5
_LINES_SHOWN = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="a component, or one of its replicas")
    parser.add_argument("--since", metavar="10m", type=duration_s, help="only what is no older than this")


def run(args: argparse.Namespace) -> int:
    """Ask, and tell."""
    client, now = control_client(args), datetime.now(UTC)
    since = None if args.since is None else now - timedelta(seconds=args.since)
    components = _components(client, args.name)
    component = _chosen(components, args.name)
    known = {each["name"]: each for each in components}
    events = _events(client, component["name"], since)
    asked = component.get("shown", component["name"])
    if asked != component["name"]:  # What was asked of the component concerns its replica too.
        events = [event for event in events if event.get("replica") in (asked, "", None)]
    told = story(component, known, events, _logs(args, asked, since), now=now)
    if args.json:
        print_json(told)
    else:
        print("\n".join(story_lines(told, style_of(sys.stdout, no_color=args.no_color), now=now)))
    return 0


def _components(client: ControlClient, name: str) -> list[dict[str, Any]]:
    try:
        components: list[dict[str, Any]] = client.get("/v1/components")
    except NoControlPlane as exc:
        raise NoControlPlane(exc.what, why=exc.why, fix=f"`ctl logs {name}` reads what it left") from exc
    return components


def _chosen(components: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the component; where a replica was named, as if that were its only one."""
    for component in components:
        for replica in component["replicas"]:
            if name == replica["id"] and name != component["name"]:
                return {**component, "state": replica["state"], "replicas": [replica], "shown": name}
    return choose(components, [name])[0]


def _events(client: ControlClient, name: str, since: datetime | None) -> list[dict[str, Any]]:
    wanted: dict[str, Any] = {"component": name, "type": _TYPES, "last": _EVENTS_READ}
    if since is not None:
        wanted["since"] = f"{int(since.timestamp() * 1_000)}-0"  # ids of entries begin with their time
    try:
        events = [event.data for event in client.events("/v1/events?" + urlencode(wanted, doseq=True))]
    except NoControlPlane:
        raise
    except CoplaneError as exc:
        # Without a bus there is no past to tell, but what is observed now still is worth telling.
        print(f"the events cannot be read: {exc}", file=sys.stderr)
        return []
    # Anybody may write to the stream, anything.
    return [event for event in events if isinstance(event.get("data"), dict)]


def _logs(args: argparse.Namespace, name: str, since: datetime | None) -> list[dict[str, Any]]:
    from control_plane.logs import LogReader

    warnings, lines = (
        deque[dict[str, Any]](maxlen=_WARNINGS_SHOWN),
        deque[dict[str, Any]](maxlen=_LINES_SHOWN),
    )
    for line in LogReader(runtime_dir(args).logs, names=[name], since=since).read():
        if line.message == "replica.transitioned":
            continue  # That is what happened, and is told as such.
        lines.append(line.as_dict())
        if line.level in ("warning", "error", "critical"):
            warnings.append(line.as_dict())
    return list(warnings or lines)
