"""The character expert: invents who a story is about."""

from __future__ import annotations

from components.agents.agent import Agent
from components.agents.story.events import CastAssembled, StoryPlanned
from components.agents.story.models import Cast, Character, StoryRequest
from components.agents.story.phrases import MANNERS, NAMES, WANTS
from components.agents.story.steps import Step


class CharacterExpert(Agent):
    """Invents the characters of a story, and what each of them wants."""

    async def startup(self) -> None:
        """Listen for plans."""
        self.listen(StoryPlanned, self.assemble)

    async def assemble(self, event: StoryPlanned) -> None:
        """Invent the cast, at the same time as the worldbuilder invents the world."""
        manuscript = self.manuscript(event.story_id)
        cast = make_cast(await manuscript.request())
        await manuscript.keep("cast", cast)
        await manuscript.reach(Step.CAST_ASSEMBLED, names=[one.name for one in cast.characters])
        await self.tell(CastAssembled(story_id=event.story_id))


def make_cast(request: StoryRequest) -> Cast:
    """Draw four characters, and one more for every ten chapters."""
    dice = request.dice("cast")
    size = min(4 + request.chapters // 10, len(WANTS))
    drawn = zip(dice.sample(NAMES, size), dice.sample(WANTS, size), dice.sample(MANNERS, size), strict=True)
    return Cast(
        characters=tuple(
            Character(name=name, pronoun=pronoun, want=want, manner=manner)
            for (name, pronoun), want, manner in drawn
        )
    )
