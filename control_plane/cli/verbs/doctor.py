"""`ctl doctor`: says what components are taken for and why, and what their code does behind one's back."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from control_plane.cli.show import print_json, style_of
from control_plane.cli.values import positive_duration_s

if TYPE_CHECKING:
    from control_plane.cli.show import Style
    from control_plane.diagnosis import Finding

NAME = "doctor"
HELP = "Say what components are taken for, and what to know of their code."
EXAMPLES = """\
ctl doctor                       every component: each is imported in a process of its own, none is started
ctl doctor writer                one of them
ctl doctor --json | jq '.[] | select(.hints != [])'
"""
TIMEOUT_S = 60.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="components (default: all)")
    parser.add_argument(
        "--timeout",
        type=positive_duration_s,
        default=TIMEOUT_S,
        metavar="S",
        help="seconds that an import may take (default: 60)",
    )


def run(args: argparse.Namespace) -> int:
    """Examine, and print; 1 where one of them cannot be hosted."""
    from contracts.errors import ExitCode
    from contracts.specs import GATEWAY
    from control_plane.config import load
    from control_plane.config.problems import unknown_component
    from control_plane.core.shadowing import shadowed_routes
    from control_plane.diagnosis import examine

    path = Path(args.config) if args.config else None
    loaded = load(path, environ=os.environ, cwd=Path.cwd())
    components = loaded.settings.components
    for name in args.names:
        if name not in components:
            raise unknown_component(name, components)
    findings = [
        examine(components[name], loaded.project, timeout_s=args.timeout) for name in args.names or components
    ]
    if args.json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        style = style_of(sys.stdout, no_color=args.no_color)
        print("\n\n".join("\n".join(_lines(finding, style)) for finding in findings))
        addresses = {name: spec.address for name, spec in components.items() if name != GATEWAY}
        for overlap in shadowed_routes({found.component: found.routes for found in findings}, addresses):
            print(f"\n{style.paint('note', 'yellow')}: {overlap}")
    return ExitCode.FAILED if any(finding.error for finding in findings) else ExitCode.DONE


def _lines(finding: Finding, style: Style) -> list[str]:
    head = style.paint(finding.component, "bold")
    if finding.error:
        from contracts.errors import CoplaneError

        error = CoplaneError.from_dict(finding.error)
        detail = [f"    {line}" for line in error.detail.splitlines()]
        return [f"{head}: {style.paint('cannot be hosted', 'red')}", f"  {error}", *detail]
    took = f", imported in {finding.import_s:.2f} s" if finding.import_s else ""
    return [
        f"{head}: {finding.kind}, because {finding.why}{took}",
        *(f"  {fact}" for fact in finding.facts),
        *(f"  {style.paint('note', 'yellow')}: {hint}" for hint in finding.hints),
    ]
