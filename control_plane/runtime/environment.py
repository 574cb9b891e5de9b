"""What components may want of their process: variables, working folder, folders to import from."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping

from contracts.specs import ComponentSpec


def declared(spec: ComponentSpec) -> Mapping[str, str]:
    """Return the variables that the component's table wants: `env`, over `env_file` as it is now."""
    if not spec.env_file:
        return spec.env
    from dotenv import dotenv_values

    of_file = {name: value or "" for name, value in dotenv_values(spec.env_file).items()}
    return {**of_file, **spec.env}


def is_particular(spec: ComponentSpec) -> bool:
    """Tell whether the component's code wants a process that differs from the one it was imported in."""
    return bool(spec.env or spec.env_file or spec.cwd or spec.pythonpath)


def take_on(specs: Iterable[ComponentSpec]) -> None:
    """Make this process what its components want of it, before they are imported.

    Programs have processes of their own, and get there what they want.
    """
    for spec in specs:
        if spec.command:
            continue
        os.environ.update(declared(spec))
        for folder in reversed(spec.pythonpath):
            sys.path.insert(0, folder)
        if spec.cwd:
            os.chdir(spec.cwd)
