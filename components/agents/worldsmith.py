"""The worldsmith: binds the book when its last chapter is final."""

from __future__ import annotations

from components.agents.agent import Agent
from components.agents.story.book import bind
from components.agents.story.events import ChapterChecked, StoryBound
from components.agents.story.models import World
from components.agents.story.steps import Step, all_checked, step_field


class Worldsmith(Agent):
    """Binds the chapters of a story into a book."""

    async def startup(self) -> None:
        """Listen for final chapters."""
        self.listen(ChapterChecked, self.collect)

    async def collect(self, event: ChapterChecked) -> None:
        """Bind the book if no chapter is missing: whoever brings the last one finds them all stored."""
        manuscript = self.manuscript(event.story_id)
        request, reached = await manuscript.request(), await manuscript.steps()
        if not all_checked(request.chapters, reached):
            return
        final = [reached[step_field(Step.CHECKED, number)] for number in range(1, request.chapters + 1)]
        drafts = [await manuscript.draft(number, one["round"]) for number, one in enumerate(final, start=1)]
        world = await manuscript.part("world", World)
        await manuscript.publish_text(bind(request, world, drafts))
        await manuscript.reach(Step.BOUND, words=sum(one["words"] for one in final))
        await self.tell(StoryBound(story_id=event.story_id))
