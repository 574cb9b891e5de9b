"""The fact checker: measures approved chapters, in a worker process, off the event loop."""

from __future__ import annotations

from dataclasses import asdict

from components.agents.agent import Agent
from components.agents.story.book import chapter_text
from components.agents.story.events import ChapterApproved, ChapterChecked
from components.agents.story.statistics import measure
from components.agents.story.steps import Step


class FactChecker(Agent):
    """Measures how long and how readable each chapter is."""

    async def startup(self) -> None:
        """Listen for approved chapters."""
        self.listen(ChapterApproved, self.check)

    async def check(self, event: ChapterApproved) -> None:
        """Measure one chapter."""
        manuscript = self.manuscript(event.story_id)
        draft = await manuscript.draft(event.chapter, event.round)
        statistics = await self.context.run_in_process(measure, chapter_text(draft))
        await manuscript.reach(Step.CHECKED, event.chapter, round=event.round, **asdict(statistics))
        await self.tell(ChapterChecked(**event.model_dump()))
