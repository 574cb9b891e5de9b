"""`ctl version`: prints which Coplane and which Python this is."""

from __future__ import annotations

import argparse
import json

NAME = "version"
HELP = "Print the version."
EXAMPLES = """\
ctl version
ctl version --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: there are none but the common ones."""


def run(args: argparse.Namespace) -> int:
    """Print the version of Coplane, of Python, and the platform."""
    import platform
    from importlib.metadata import version

    facts = {
        "coplane": version("coplane"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    if args.json:
        print(json.dumps(facts))
    else:
        print(f"coplane {facts['coplane']} (Python {facts['python']}, {facts['platform']})")
    return 0
