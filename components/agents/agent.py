"""What every agent of the demo has in common: how it listens, tells, and says what it does.

Delivery is at least once, so a handler may run again at any time, after a crash at any line too.
Every handler therefore does the same three things in the same order, and none of them harms twice:
compute the part from what is stored, store it, tell the others. A handler that finds its part already
there still tells: the run that stored it may have died before it could.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from inspect import getdoc
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from components.agents.story.events import StoryEvent
from components.agents.story.manuscript import Manuscript
from contracts import ComponentContext, current_component

E = TypeVar("E", bound=StoryEvent)

CONCURRENCY = 4
# A delivery counts when its replica is killed, too; and no handler here fails by its message's fault.
MAX_DELIVERIES = 20


class AgentCard(BaseModel):
    """What `GET /` of an agent answers."""

    agent: str
    replica: str
    does: str
    told: dict[str, int]


class Agent:
    """An agent: a component that answers events with events."""

    def __init__(self, context: ComponentContext) -> None:
        self.context = context
        self.told: Counter[str] = Counter()

    async def shutdown(self) -> None:
        """Let go of nothing: all that an agent knows is in shared state."""

    def health_check(self) -> dict[str, Any]:
        """Return ok: an agent that runs is well."""
        return {"status": "ok"}

    def get_routes(self) -> APIRouter:
        """Return the one route that every agent has."""
        return routes

    def listen(self, event: type[E], handler: Callable[[E], Awaitable[None]]) -> None:
        """Handle the events of one stream."""
        self.context.subscribe(event.stream, handler, concurrency=CONCURRENCY, max_deliveries=MAX_DELIVERIES)

    async def tell(self, event: StoryEvent) -> None:
        """Publish an event."""
        await self.context.publish(event.stream, event)
        self.told[event.stream] += 1

    def manuscript(self, story_id: str) -> Manuscript:
        """Return the story as it stands in shared state."""
        return Manuscript(self.context.state, story_id)


# Made once, when the module is imported: a host that is forked afterwards shares it.
routes = APIRouter()


@routes.get("/")
async def card(agent: Annotated[Agent, Depends(current_component)]) -> AgentCard:
    """Say what this agent does, and how many events this replica told since it started."""
    return AgentCard(
        agent=agent.context.name,
        replica=agent.context.replica_id,
        does=(getdoc(type(agent)) or "").partition("\n")[0],
        told=dict(agent.told),
    )
