"""The worldbuilder: invents where a story happens."""

from __future__ import annotations

from components.agents.agent import Agent
from components.agents.story.events import StoryPlanned, WorldBuilt
from components.agents.story.models import Place, StoryRequest, World
from components.agents.story.phrases import CUSTOMS, PLACE_DETAILS, PLACE_KINDS, PLACE_NAMES, REALMS
from components.agents.story.steps import Step


class Worldbuilder(Agent):
    """Invents the realm of a story and the places in it."""

    async def startup(self) -> None:
        """Listen for plans."""
        self.listen(StoryPlanned, self.build)

    async def build(self, event: StoryPlanned) -> None:
        """Invent the world, at the same time as the character expert invents the cast."""
        manuscript = self.manuscript(event.story_id)
        world = make_world(await manuscript.request())
        await manuscript.keep("world", world)
        await manuscript.reach(Step.WORLD_BUILT, realm=world.realm)
        await self.tell(WorldBuilt(story_id=event.story_id))


def make_world(request: StoryRequest) -> World:
    """Draw a realm, a custom, and one place for every four chapters beside the first four."""
    dice = request.dice("world")
    size = min(4 + request.chapters // 4, len(PLACE_NAMES))
    names = zip(dice.sample(PLACE_NAMES, size), dice.sample(PLACE_KINDS, size), strict=True)
    details = dice.sample(PLACE_DETAILS, size)
    return World(
        realm="".join(dice.choice(part) for part in REALMS),
        custom=dice.choice(CUSTOMS),
        places=tuple(
            Place(name=f"the {name} {kind}", detail=detail)
            for (name, kind), detail in zip(names, details, strict=True)
        ),
    )
