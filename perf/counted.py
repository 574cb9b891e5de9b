"""The demo's components, that tell in their health how many asyncio tasks their host has."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from components.agents import (
    character_expert,
    critic,
    director,
    fact_checker,
    outliner,
    plotmaster,
    rewriter,
    worldbuilder,
    worldsmith,
    writer,
)
from components.gateway import gateway
from tests.support import echo

USE = re.compile(r'^use = ".*:(\w+)"$', re.MULTILINE)


def counting(source: str) -> str:
    """Return a configuration with the components of this module for those of the same names."""
    return USE.sub(r'use = "perf.counted:\1"', source)


class Counting:
    """Counts in its health."""

    def health_check(self) -> dict[str, Any]:
        """Return how many tasks there are; ok: who answers is well."""
        return {"status": "ok", "tasks": len(asyncio.all_tasks())}


class CharacterExpert(Counting, character_expert.CharacterExpert):
    __doc__ = character_expert.CharacterExpert.__doc__


class Critic(Counting, critic.Critic):
    __doc__ = critic.Critic.__doc__


class Director(Counting, director.Director):
    __doc__ = director.Director.__doc__


class FactChecker(Counting, fact_checker.FactChecker):
    __doc__ = fact_checker.FactChecker.__doc__


class Outliner(Counting, outliner.Outliner):
    __doc__ = outliner.Outliner.__doc__


class Plotmaster(Counting, plotmaster.Plotmaster):
    __doc__ = plotmaster.Plotmaster.__doc__


class Rewriter(Counting, rewriter.Rewriter):
    __doc__ = rewriter.Rewriter.__doc__


class Worldbuilder(Counting, worldbuilder.Worldbuilder):
    __doc__ = worldbuilder.Worldbuilder.__doc__


class Worldsmith(Counting, worldsmith.Worldsmith):
    __doc__ = worldsmith.Worldsmith.__doc__


class Writer(Counting, writer.Writer):
    __doc__ = writer.Writer.__doc__


class Gateway(Counting, gateway.Gateway):
    __doc__ = gateway.Gateway.__doc__


class Echo(Counting, echo.Echo):
    __doc__ = echo.Echo.__doc__
