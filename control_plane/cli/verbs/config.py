"""`ctl config`: shows, checks and describes the configuration."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from control_plane.config import Loaded

NAME = "config"
HELP = "Show, validate or describe the configuration."
EXAMPLES = """\
ctl config show                          the settings in force, and where each override came from
ctl config show --json | jq .settings.bus
ctl config validate                      exits 2 and says everything that is wrong
ctl config schema > ctl.schema.json      for an editor's completion
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "action",
        choices=("show", "validate", "schema"),
        metavar="show|validate|schema",
        help="show: print the settings in force; validate: check them; schema: print the JSON Schema",
    )


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    if args.action == "schema":
        from control_plane.config import schema

        _print_json(schema())
        return 0
    from control_plane.config import load

    path = Path(args.config) if args.config else None
    loaded = load(path, environ=os.environ, cwd=Path.cwd())
    (_show if args.action == "show" else _report_valid)(loaded, as_json=args.json)
    return 0


def _show(loaded: Loaded, *, as_json: bool) -> None:
    from control_plane.config.rendering import to_toml, to_tree

    if as_json:
        settings = to_tree(loaded.settings)
        _print_json({"path": str(loaded.path), "settings": settings, "sources": dict(loaded.sources)})
    else:
        print(f"# {loaded.path}\n")
        print(to_toml(loaded.settings, loaded.sources))


def _report_valid(loaded: Loaded, *, as_json: bool) -> None:
    names = list(loaded.settings.components)
    mode = loaded.settings.app.mode
    if as_json:
        _print_json({"valid": True, "path": str(loaded.path), "mode": mode, "components": names})
    else:
        counted = f"{len(names)} component{'s' if len(names) != 1 else ''}"
        print(f"{loaded.path} is valid: {counted}, mode {mode}")


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))
