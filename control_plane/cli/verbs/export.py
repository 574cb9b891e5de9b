"""`ctl export`: writes the configuration as files of another tool."""

from __future__ import annotations

import argparse
import os
from importlib import import_module
from pathlib import Path

NAME = "export"
HELP = "Write the configuration as files of another tool."
EXAMPLES = """\
ctl export procfile                         writes Procfile beside the configuration
ctl export systemd --output ./units         writes a unit a component, and a target
ctl export compose --output -               print it, and write nothing
"""
# What each writes beside the configuration.
FORMATS = {"procfile": "Procfile", "systemd": "systemd", "compose": "compose.yaml"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "format", metavar="FORMAT", choices=tuple(FORMATS), help=f"one of {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="the file to write, for systemd the folder; - prints it (default: Procfile, compose.yaml or "
        "systemd/ beside the configuration)",
    )
    parser.add_argument("--force", action="store_true", help="write over files that are there")


def run(args: argparse.Namespace) -> int:
    """Convert and write."""
    from control_plane.cli.writing import PRIVATE, STDOUT, print_text, refuse_to_overwrite, write_files
    from control_plane.config import load

    loaded = load(Path(args.config) if args.config else None, environ=os.environ, cwd=Path.cwd())
    default = loaded.project / FORMATS[args.format]
    target = (default if args.output in (None, STDOUT) else Path(args.output)).absolute()
    is_folder = args.format == "systemd"
    folder = target if is_folder else target.parent
    exporter = import_module(f"control_plane.conversion.exporting.{args.format}")
    texts: dict[str, str] = exporter.export(loaded, folder)
    if args.output == STDOUT:
        print_text("\n".join(f"# {name}\n{text}" if is_folder else text for name, text in texts.items()))
        return 0
    files = {(folder / name if is_folder else target): text for name, text in texts.items()}
    refuse_to_overwrite(list(files), force=args.force)
    write_files(files, mode=PRIVATE)  # passwords may have been filled in
    if args.json:
        from control_plane.cli.show import print_json

        print_json({"files": [str(path) for path in files]})
        return 0
    for path in files:
        print(f"wrote {path}")
    return 0
