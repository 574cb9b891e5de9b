"""Imports example files of other tools, and loads what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contracts.specs import ComponentSpec
from control_plane.config import Loaded, load
from control_plane.conversion.importing import Converted, convert

EXAMPLES = Path(__file__).parents[1] / "golden" / "conversion" / "shop"
ENVIRON = {"SECRET_KEY": "s3cret", "DB_PASSWORD": "hunter2"}


def shop(folder: Path) -> Path:
    """Return a copy of the example project that tests may write into."""
    import shutil

    return Path(shutil.copytree(EXAMPLES, folder / "shop"))


def imported(kind: str, source: Path) -> tuple[Converted, Loaded]:
    """Import a file, write ctl.toml beside it, and load that."""
    converted = convert(kind, source, target=source.parent)
    return converted, loaded(source.parent, converted.text)


def imported_text(kind: str, folder: Path, text: str, *, name: str) -> tuple[Converted, Loaded]:
    """Import a file with this text."""
    (folder / name).write_text(text)
    return imported(kind, folder / name)


def loaded(folder: Path, text: str, environ: Mapping[str, str] = ENVIRON) -> Loaded:
    """Load a ctl.toml with this text."""
    path = folder / "ctl.toml"
    path.write_text(text)
    return load(path, environ=environ, cwd=folder)


def components(result: Loaded) -> dict[str, ComponentSpec]:
    """Return the components but for the gateway."""
    return {name: spec for name, spec in result.settings.components.items() if name != "gateway"}


def comment(text: str) -> str:
    """Return the text without its line breaks, so that wrapped comments are found in it."""
    return " ".join(line.strip().lstrip("#").strip() for line in text.splitlines())
