"""`ctl logs`: prints the logs of a runtime folder; needs no control plane."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from contracts.errors import ControlError, did_you_mean
from control_plane.cli.running import runtime_dir
from control_plane.cli.show import print_json_line, style_of
from control_plane.cli.values import duration_s, pattern

if TYPE_CHECKING:
    from control_plane.logs import LogLine, LogReader

NAME = "logs"
HELP = "Print the logs, merged by time."
EXAMPLES = """\
ctl logs -f                      what was and what comes, until Ctrl+C
ctl logs writer critic-2         of a component, of one replica
ctl logs --since 5m --level warning
ctl logs --grep 'story=7' --json | jq .message
ctl logs control                 the control plane's own; also: anchor, valkey, launch
"""
_LEVELS = ("debug", "info", "warning", "error", "critical")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="components, replicas or other labels (default: all)"
    )
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on as lines are written, until Ctrl+C"
    )
    parser.add_argument("--since", metavar="5m", type=duration_s, help="only what is no older than this")
    parser.add_argument(
        "--grep", metavar="RE", type=pattern, help="only lines that this regular expression finds"
    )
    parser.add_argument(
        "--level", choices=_LEVELS, help="only lines of this level and above; raw lines are info"
    )


def run(args: argparse.Namespace) -> int:
    """Read, choose and print."""
    from control_plane.logs import LogReader

    folder = runtime_dir(args).logs
    since = None if args.since is None else datetime.now(UTC) - timedelta(seconds=args.since)
    _refuse_unknown(args.names, LogReader(folder).labels())
    if not folder.is_dir():
        print(f"no logs in {folder}", file=sys.stderr)
        return 0
    reader = LogReader(folder, names=args.names, since=since)
    show, wanted = _printer(args), _filter(args)
    if args.follow:
        import asyncio

        asyncio.run(_follow(reader, show, wanted))
    else:
        for line in filter(wanted, reader.read()):
            show(line)
    return 0


def _refuse_unknown(names: list[str], labels: list[str]) -> None:
    from control_plane.logs.line import component_of

    known = {*labels, *filter(None, map(component_of, labels))}
    for name in names:
        if name not in known:
            raise ControlError(f"no logs of '{name}'", why=did_you_mean(name, known), code="E3002")


async def _follow(
    reader: LogReader, show: Callable[[LogLine], None], wanted: Callable[[LogLine], bool]
) -> None:
    async with aclosing(reader.follow(history=True)) as lines:
        async for line in lines:
            if wanted(line):
                show(line)


def _filter(args: argparse.Namespace) -> Callable[[LogLine], bool]:
    from control_plane.cli.log_view import plain_text

    lowest = _LEVELS.index(args.level) if args.level else 0

    def wanted(line: LogLine) -> bool:
        return line.severity >= lowest and (
            args.grep is None or args.grep.search(plain_text(line)) is not None
        )

    return wanted


def _printer(args: argparse.Namespace) -> Callable[[LogLine], None]:
    from control_plane.cli.log_view import log_text

    style = style_of(sys.stdout, no_color=args.no_color)
    today = datetime.now().astimezone().date()

    def show(line: LogLine) -> None:
        if args.json:
            print_json_line(line.as_dict())
        else:
            print(log_text(line, style, today=today), flush=args.follow)

    return show
