"""Finds the configuration file.

Standard library only: every `ctl` command passes through here, and most need nothing more.
Named (`--config`, then `CTL_CONFIG`) beats found; the nearest folder beats one above it; inside a
folder the order is that of `FILE_NAMES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from contracts.errors import ConfigError

FILE_NAMES = ("ctl.toml", "ctl.yaml", "ctl.yml", "ctl.json", "pyproject.toml")
PYPROJECT = "pyproject.toml"


def find_config(path: str | Path | None = None, *, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the absolute path of the configuration file.

    Raises:
        ConfigError: there is none (E1006).
    """
    named = path or environ.get("CTL_CONFIG")
    return _named(cwd / named, "--config" if path else "CTL_CONFIG") if named else _search(cwd)


def _named(path: Path, by: str) -> Path:
    if path.is_file():
        return path.resolve()
    raise ConfigError(
        f"no configuration file at {path}",
        why=f"{by} names {'a folder' if path.is_dir() else 'a file that is not there'}",
        fix=f"Name a file, or leave {by} out to search upward from the working folder",
        code="E1006",
    )


def _search(cwd: Path) -> Path:
    start = cwd.resolve()
    for folder in (start, *start.parents):
        for name in FILE_NAMES:
            if _is_ours(folder / name):
                return folder / name
    raise ConfigError(
        "no configuration file",
        why=f"Looked for {', '.join(FILE_NAMES[:-1])} and [tool.ctl] in {PYPROJECT}, "
        f"in {start} and every folder above it",
        fix="Create a ctl.toml (docs/configuration.md begins with a small one), or name a file with --config",
        code="E1006",
    )


def _is_ours(path: Path) -> bool:
    return path.is_file() and (path.name != PYPROJECT or _has_tool_table(path))


def _has_tool_table(path: Path) -> bool:
    import tomllib

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    try:
        return "ctl" in tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError:
        # Broken, but meant for us: found here, so that the parser can say what is wrong with it.
        return "[tool.ctl" in text
