"""`ctl`: finds the verb, parses its arguments, and turns errors into messages and exit codes.

Only the verb that was asked for is imported, and it imports what is heavy when it runs.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn, Protocol

from contracts.errors import ConfigError, CoplaneError, ExitCode, did_you_mean
from control_plane.cli.show import show_error

VERBS = (
    "launch",
    "status",
    "why",
    "start",
    "stop",
    "restart",
    "scale",
    "move",
    "logs",
    "events",
    "streams",
    "config",
    "doctor",
    "compare",
    "import",
    "export",
    "host",
    "version",
)


class Verb(Protocol):
    """What each module of `control_plane.cli.verbs` has."""

    NAME: str
    HELP: str
    EXAMPLES: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it, and return the exit code."""
        ...


class Parser(argparse.ArgumentParser):
    """A parser that raises instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise ConfigError(message, fix=f'Run "{self.prog} --help"', code="E1009")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `ctl` and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _say_everything()
    try:
        exit_code = _run(arguments)
        sys.stdout.flush()
        return exit_code
    except CoplaneError as exc:
        show_error(exc, as_json="--json" in arguments)
        return exc.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has seen enough, as in `ctl logs | head`; the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    except Exception as exc:
        # The supervision boundary of a command.
        import traceback

        traceback.print_exc()
        print(f"ctl failed by a fault of its own: {type(exc).__name__}: {exc}", file=sys.stderr)
        return ExitCode.FAILED


def _say_everything() -> None:
    """Escape what the terminal's encoding cannot say, such as half a surrogate pair of a log line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: list[str]) -> int:
    args, rest = _top_parser().parse_known_args(arguments)
    if args.verb is None:
        return _help(rest)
    verb = _verb(args.verb)
    parser = _verb_parser(verb)
    parser.parse_args([*rest, *args.rest], args)
    return verb.run(args)


def _help(options: list[str]) -> int:
    parser = _top_parser(list_verbs=True)
    if unknown := set(options) - {"-h", "--help"}:
        parser.error(f"unknown option {sorted(unknown)[0]!r}")
    parser.print_help()
    return ExitCode.DONE


def _verb(name: str) -> Verb:
    if name not in VERBS:
        raise ConfigError(
            f"unknown command '{name}'", why=did_you_mean(name, VERBS), fix='Run "ctl --help"', code="E1009"
        )
    verb: Verb = import_module(f"control_plane.cli.verbs.{name}")
    return verb


def _top_parser(*, list_verbs: bool = False) -> Parser:
    parser = Parser(
        prog="ctl",
        usage="ctl COMMAND [ARGUMENT...]",
        description="Run the same component code in one process or in many.",
        epilog=_overview() if list_verbs else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    _add_common(parser)
    parser.set_defaults(config=None, json=False, no_color=False)
    parser.add_argument("verb", nargs="?", metavar="COMMAND", help="what to do")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="ARGUMENT", help=argparse.SUPPRESS)
    return parser


def _verb_parser(verb: Verb) -> Parser:
    parser = Parser(
        prog=f"ctl {verb.NAME}",
        description=verb.HELP,
        epilog=f"examples:\n{_indented(verb.EXAMPLES)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verb.configure(parser)
    _add_common(parser)
    return parser


def _add_common(parser: Parser) -> None:
    # Suppressed defaults: an option before the verb must not be undone by its absence after it.
    common = parser.add_argument_group("common options")
    common.add_argument(
        "--config",
        metavar="PATH",
        default=argparse.SUPPRESS,
        help="the configuration file (default: found upward)",
    )
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, errors included"
    )
    common.add_argument(
        "--no-color",
        action="store_true",
        default=argparse.SUPPRESS,
        help="print no colours, as NO_COLOR does",
    )


def _overview() -> str:
    lines = [f"  {name:<9} {_verb(name).HELP}" for name in VERBS]
    return "\n".join(
        ["commands:", *lines, "", 'Run "ctl COMMAND --help" for examples.', "", "exit codes:", *_EXIT_CODES]
    )


_EXIT_CODES = (
    "  0 done   1 failed   2 usage or configuration   3 not ready in time",
    "  4 no control plane to talk to   130 interrupted",
)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.strip().splitlines())
