"""Expands supervisord's `%(name)s`. Pure, but for this machine's name.

`%(ENV_X)s` is what an `environment` option says of X; else it becomes `${X}`, which is filled when the
configuration is loaded and not now.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping

from control_plane.conversion.ini import Section
from control_plane.conversion.model import escaped
from control_plane.conversion.reading import malformed, wrong_value

_ENV = re.compile(r"%\(ENV_(\w+)\)s")


class Expansion:
    """What can be written in the options of one process of a section.

    Args:
        group: the name of the group that the program is in, if any.
        env: the variables of `environment` options, as they are to be written.
    """

    def __init__(
        self, section: Section, number: int, *, group: str = "", env: Mapping[str, str] | None = None
    ) -> None:
        self._section = section
        self._env = env or {}
        self._values: Mapping[str, str | int] = {
            "here": str(section.here),
            "host_node_name": socket.gethostname(),
            "program_name": section.name,
            "group_name": group or section.name,
            "process_num": number,
            "numprocs": int(numprocs)
            if (numprocs := section.options.get("numprocs", "1")).isdecimal()
            else 1,
        }

    def expand(self, key: str, text: str) -> str:
        """Return the text of an option as it is to be written.

        Raises:
            ConfigError: it names what supervisord does not know, or has a lone `%`.
        """
        pieces = _ENV.split(escaped(text))
        # Every second piece is the name of a variable.
        return "".join(
            self._env.get(piece, f"${{{piece}}}") if index % 2 else self._filled(key, piece)
            for index, piece in enumerate(pieces)
        )

    def _filled(self, key: str, text: str) -> str:
        values = {**self._values, "process_name": self._section.name}
        try:
            return text % values
        except KeyError as exc:
            where = f"[{self._section.title}] {key}"
            known = ", ".join(["ENV_X", *self._values])
            raise wrong_value(
                self._section.path, where, f"%({exc.args[0]})s", expected=f"one of these names: {known}"
            ) from exc
        except (TypeError, ValueError) as exc:
            raise malformed(
                self._section.path,
                "It has a '%' that begins no %(name)s",
                line=self._section.line,
                at=f"[{self._section.title}] {key}",
                fix="Write %% for a '%' that is meant as it stands",
            ) from exc
