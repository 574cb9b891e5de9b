"""Paths in the configuration are seen from its file; from here on they are absolute."""

from __future__ import annotations

from pathlib import Path

from contracts.specs import ComponentSpec, Settings


def located(settings: Settings, project: Path) -> Settings:
    """Return the settings with absolute paths; a program runs in the project's folder if it does not say."""
    components = {name: _located(spec, project) for name, spec in settings.components.items()}
    return settings.model_copy(update={"components": components})


def _located(spec: ComponentSpec, project: Path) -> ComponentSpec:
    cwd = spec.cwd or ("." if spec.command else "")
    if not (cwd or spec.env_file or spec.pythonpath):
        return spec
    return spec.model_copy(
        update={
            "cwd": str(project / cwd) if cwd else "",
            "env_file": str(project / spec.env_file) if spec.env_file else "",
            "pythonpath": tuple(str(project / folder) for folder in spec.pythonpath),
        }
    )
