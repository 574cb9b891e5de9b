"""The way back: the commands that started the backend before, in place of its components.

They are programs like any other, so that launch, status, logs and stop are the same. There is no gateway:
whoever answered the backend's clients then does so again, at its own port.
"""

from __future__ import annotations

from pathlib import Path

from contracts.errors import ConfigError
from contracts.specs import ComponentSpec, Settings


def as_before(settings: Settings, project: Path) -> Settings:
    """Return the settings of a launch of the legacy commands.

    Raises:
        ConfigError: there are none (E1010).
    """
    commands = settings.legacy.commands
    if not commands:
        raise ConfigError(
            "the launcher is 'legacy', and there are no commands of it",
            fix='List them as `[legacy.commands]`, each `name = "command line"`',
            code="E1010",
        )
    programs = {
        # Each may have a port of its own, of which nobody has told us.
        name: ComponentSpec(name=name, command=_words(command), cwd=str(project), exclusive=True)
        for name, command in commands.items()
    }
    return settings.model_copy(update={"components": programs, "profiles": {}, "groups": {}})


def _words(command: str | tuple[str, ...]) -> tuple[str, ...]:
    # The shell makes way for the command, where it is only one.
    return ("sh", "-c", command) if isinstance(command, str) else command
