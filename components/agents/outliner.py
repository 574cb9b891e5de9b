"""The outliner: joins world and cast into scenes."""

from __future__ import annotations

from components.agents.agent import Agent
from components.agents.story.events import CastAssembled, StoryEvent, StoryOutlined, WorldBuilt
from components.agents.story.models import Cast, Outline, Plan, Scene, StoryRequest, World
from components.agents.story.phrases import KEEPSAKES
from components.agents.story.steps import Step


class Outliner(Agent):
    """Joins plan, world and cast into the scenes of a story."""

    async def startup(self) -> None:
        """Listen for both branches that meet here."""
        self.listen(WorldBuilt, self.join)
        self.listen(CastAssembled, self.join)

    async def join(self, event: StoryEvent) -> None:
        """Outline the story as soon as both parts are there.

        Nothing is counted: each branch stores its part before it tells, so whoever comes second finds
        both, in whatever order and however often the two events arrive. When both parts are there
        before either event is handled, both come second; `once` spares the backend the second story. It
        records its result after the telling, so it never keeps silent what was not told.
        """
        if not await self.manuscript(event.story_id).has("world", "cast"):
            return

        async def outline() -> None:
            await self.outline(event.story_id)

        await self.context.state.once(f"story:{event.story_id}:outlined", outline)

    async def outline(self, story_id: str) -> None:
        """Find a scene for every chapter."""
        manuscript = self.manuscript(story_id)
        plan = await manuscript.part("plan", Plan)
        world = await manuscript.part("world", World)
        cast = await manuscript.part("cast", Cast)
        await manuscript.keep("outline", make_outline(await manuscript.request(), plan, world, cast))
        await manuscript.reach(Step.OUTLINED)
        await self.tell(StoryOutlined(story_id=story_id))


def make_outline(request: StoryRequest, plan: Plan, world: World, cast: Cast) -> Outline:
    """Draw a scene for every stage of the arc; two in three are the protagonist's."""
    dice = request.dice("outline")
    scenes = []
    for stage in plan.arc:
        hero, other = dice.sample(cast.characters, 2)
        if dice.randrange(3) and hero != cast.characters[0]:
            hero, other = cast.characters[0], hero
        scenes.append(
            Scene(
                stage=stage,
                tension=dice.randrange(100),
                place=dice.choice(world.places),
                hero=hero,
                other=other,
                keepsake=dice.choice(KEEPSAKES),
            )
        )
    dice.shuffle(scenes)
    return Outline(scenes=tuple(scenes))
