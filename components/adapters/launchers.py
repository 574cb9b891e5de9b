"""Hosts one agent of a launcher object: `load_agents(names)`, `agents`, `start_all()`, `stop_all()`.

Each agent is a component of its own, with a launcher of its own that has loaded it alone, so that the
exception of one no longer stops all.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter

from components.adapters.arguments import called
from components.adapters.objects import RUN, ObjectAdapter
from contracts import ComponentContext
from contracts.errors import ComponentError
from contracts.specs import ComponentSpec


class LauncherAdapter:
    """Loads the agent, and then hosts it as the object it is; where it cannot be started, the launcher."""

    def __init__(self, context: ComponentContext, target: Any, spec: ComponentSpec) -> None:
        self._context = context
        self._spec = spec
        self._launcher = called(target, context) if inspect.isclass(target) else target
        self._agent: ObjectAdapter | None = None
        if not spec.agent:
            raise ComponentError(
                f"component '{context.name}': `use` names a launcher, and no agent is named",
                fix='give it one with `agent = "..."`, and each further agent a component of its own',
                code="E5001",
            )

    async def startup(self) -> None:
        """Load the agent and start it."""
        before = list(self._loaded().values())
        answer = self._launcher.load_agents([self._spec.agent])
        if inspect.isawaitable(answer):
            await answer
        agent = self._found(before)
        if hasattr(agent, self._spec.run or RUN):
            self._agent = ObjectAdapter(self._context, agent, self._spec)
        else:
            spec = self._spec.model_copy(update={"run": "start_all", "stop": "stop_all"})
            self._agent = ObjectAdapter(self._context, self._launcher, spec)
        await self._agent.startup()

    async def shutdown(self) -> None:
        """Stop the agent."""
        if self._agent is not None:
            await self._agent.shutdown()

    def get_routes(self) -> APIRouter | None:
        """Return nothing: agents are loaded after routes are asked for."""
        return None

    async def health_check(self) -> dict[str, Any]:
        """Ask the agent."""
        return await self._agent.health_check() if self._agent else {"status": "not loaded"}

    def _loaded(self) -> dict[str, Any]:
        """Return the launcher's agents by name, whatever it keeps them in."""
        agents = getattr(self._launcher, "agents", ())
        if isinstance(agents, Mapping):
            return {str(name): agent for name, agent in agents.items()}
        named = agents if isinstance(agents, Iterable) else ()
        return {str(getattr(agent, "name", number)): agent for number, agent in enumerate(named)}

    def _found(self, before: list[Any]) -> Any:
        loaded = self._loaded()
        if self._spec.agent in loaded:
            return loaded[self._spec.agent]
        new = [agent for agent in loaded.values() if not any(agent is other for other in before)]
        if len(new) == 1:
            return new[0]
        raise ComponentError(
            f"component '{self._context.name}': the launcher has not loaded agent '{self._spec.agent}'",
            why=f"its agents are now: {', '.join(sorted(loaded)) or 'none'}",
            fix="name it as `load_agents` knows it",
            code="E5001",
        )
