"""The way back: the commands that started the backend before, in place of its components.

They are programs like any other, so that launch, status, logs and stop are the same. There is no gateway:
whoever answered the backend's clients then does so again, at its own port.
"""

from __future__ import annotations

from pathlib import Path

from contracts.errors import ConfigError
from contracts.specs import GATEWAY, BusSpec, ComponentSpec, Settings


def as_before(settings: Settings, project: Path) -> Settings:
    """Return the settings of a launch of the legacy commands.

    Raises:
        ConfigError: there are none, or one has the name of our gateway (E1010).
    """
    commands = settings.legacy.commands
    if not commands:
        raise ConfigError(
            "the launcher is 'legacy', and there are no commands of it",
            fix='List them as `[legacy.commands]`, each `name = "command line"`',
            code="E1010",
        )
    if GATEWAY in commands:
        raise ConfigError(
            f"a legacy command is called '{GATEWAY}'",
            why="That is the name of our own gateway, which takes no part",
            fix="Give it another name, such as 'api'",
            code="E1010",
        )
    programs = {
        # Each may have a port of its own, of which nobody has told us.
        name: ComponentSpec(name=name, command=_words(command), cwd=str(project), exclusive=True)
        for name, command in commands.items()
    }
    without = {"profiles": {}, "groups": {}, "bus": BusSpec(url="memory://")}
    return settings.model_copy(update={"components": programs, **without})


def _words(command: str | tuple[str, ...]) -> tuple[str, ...]:
    # The shell makes way for the command, where it is only one.
    return ("sh", "-c", command) if isinstance(command, str) else command
