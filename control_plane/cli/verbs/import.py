"""`ctl import`: writes a ctl.toml that stands for a file of another tool."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "import"
HELP = "Write a ctl.toml from a file of another tool."
EXAMPLES = """\
ctl import procfile Procfile
ctl import honcho Procfile                         the same, with the .env beside it
ctl import compose compose.yaml --output -         print it, and write nothing
ctl import supervisord /etc/supervisord.conf --output ./ctl.toml
ctl import pm2 ecosystem.config.js --force         write over a ctl.toml that is there
"""
FORMATS = ("procfile", "compose", "honcho", "supervisord", "pm2")
FILE_NAME = "ctl.toml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("format", metavar="FORMAT", choices=FORMATS, help=f"one of {', '.join(FORMATS)}")
    parser.add_argument("file", metavar="FILE", help="the file to read")
    parser.add_argument(
        "--output", metavar="PATH", help="where to write; - prints it (default: ctl.toml beside FILE)"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def run(args: argparse.Namespace) -> int:
    """Read, convert and write."""
    from control_plane.cli.writing import STDOUT, print_text, refuse_to_overwrite, write_files
    from control_plane.conversion.importing import convert

    source = Path(args.file)
    target = source.parent / FILE_NAME if args.output in (None, STDOUT) else Path(args.output)
    if args.output != STDOUT:
        _check_name(target)
        refuse_to_overwrite([target], force=args.force)
    converted = convert(args.format, source, target=target.parent)
    if args.output == STDOUT:
        print_text(converted.text)
        return 0
    write_files({target: converted.text})
    if args.json:
        from control_plane.cli.show import print_json

        left = list(converted.not_carried_over)
        print_json({"path": str(target), "components": list(converted.components), "not_carried_over": left})
        return 0
    print(f"wrote {target}: {_counted(len(converted.components), 'component')}")
    if left_count := len(converted.not_carried_over):
        print(f"{_counted(left_count, 'comment')} in it say what was not carried over")
    print(f'check it with "ctl config validate --config {target}"')
    return 0


def _check_name(target: Path) -> None:
    from contracts.errors import ConfigError

    if target.suffix != ".toml":
        raise ConfigError(
            f"--output {target} is no name of a TOML file",
            fix="Write one such as ctl.toml, or - to print it",
            code="E1009",
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
