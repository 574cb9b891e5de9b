"""Reads the sections of a supervisord configuration, those of included files too."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from control_plane.conversion.reading import malformed, read_text


@dataclass(frozen=True)
class Section:
    """One section, such as `[program:web]`.

    Attributes:
        here: the folder of the file it stands in.
        line: where it begins, None where that is not known.
    """

    title: str
    options: Mapping[str, str]
    path: Path
    line: int | None

    @property
    def kind(self) -> str:
        """Return what stands before the colon."""
        return self.title.partition(":")[0].strip()

    @property
    def name(self) -> str:
        """Return what stands behind the colon."""
        return self.title.partition(":")[2].strip()

    @property
    def here(self) -> Path:
        """Return the folder of the file."""
        return self.path.parent.absolute()


def read_sections(path: Path) -> list[Section]:
    """Return the sections of a file, then those of the files it includes.

    Raises:
        ConfigError: a file cannot be read (E1006), or is malformed (E1002).
    """
    sections = _sections(path)
    included = [file for section in sections if section.kind == "include" for file in _included(section)]
    return sections + [section for file in included for section in _sections(file)]


def _included(section: Section) -> list[Path]:
    patterns = section.options.get("files", "").replace("%(here)s", str(section.here)).split()
    return [file for pattern in patterns for file in _glob(section.here, pattern)]


def _glob(folder: Path, pattern: str) -> list[Path]:
    import glob

    return [Path(found) for found in sorted(glob.glob(str(folder / pattern))) if Path(found).is_file()]


def _sections(path: Path) -> list[Section]:
    text = read_text(path)
    # As supervisord reads it: a later value of a key comes before, and comments may follow a value.
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read_string(text, source=path.name)
    except configparser.MissingSectionHeaderError as exc:
        raise malformed(
            path,
            f"There is no section before {exc.line.strip()!r}",
            line=exc.lineno,
            fix="A file of supervisord begins with a section such as [program:web]",
        ) from exc
    except configparser.ParsingError as exc:
        line, shown = exc.errors[0]
        raise malformed(path, f"It is no `key = value`: {shown.strip()}", line=line) from exc
    except configparser.Error as exc:
        raise malformed(path, str(exc)) from exc
    return [Section(title, dict(parser[title]), path, _line_of(text, title)) for title in parser.sections()]


def _line_of(text: str, title: str) -> int | None:
    found = re.search(rf"^\[{re.escape(title)}\]", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else None
