"""The director: accepts stories over HTTP, plans them, and declares them finished."""

from __future__ import annotations

from uuid import UUID, uuid4, uuid5

from fastapi import APIRouter

from components.agents.agent import Agent
from components.agents.director_routes import router
from components.agents.story.events import StoryBound, StoryPlanned, StoryRequested
from components.agents.story.models import Plan, Stage, StoryRequest
from components.agents.story.phrases import THEMES
from components.agents.story.prose import telling_words
from components.agents.story.steps import Step

STORIES = UUID("6f0e2f0c-5d0b-4b57-9a53-0c2a9b1de0aa")  # the namespace of ids made from idempotency keys


class Director(Agent):
    """Accepts stories, settles what each is about, and declares it finished."""

    async def startup(self) -> None:
        """Listen for stories to plan and for stories that are bound."""
        self.listen(StoryRequested, self.plan)
        self.listen(StoryBound, self.finish)

    def get_routes(self) -> APIRouter:
        """Return the routes of stories, and the agent's own."""
        return router

    async def accept(self, request: StoryRequest, *, key: str | None) -> str | None:
        """Take a story in and return its id; None if `key` was used for another request.

        The same key gives the same story. If this is cut off half-way, nobody was told an id, and a
        client that tries again with its key carries on with the story that is stored.
        """
        story_id = str(uuid5(STORIES, key) if key else uuid4())
        if not await self.manuscript(story_id).open(request):
            return None
        await self.tell(StoryRequested(story_id=story_id))
        return story_id

    async def plan(self, event: StoryRequested) -> None:
        """Settle theme, motifs and arc."""
        manuscript = self.manuscript(event.story_id)
        await manuscript.keep("plan", make_plan(await manuscript.request()))
        await manuscript.reach(Step.PLANNED)
        await self.tell(StoryPlanned(story_id=event.story_id))

    async def finish(self, event: StoryBound) -> None:
        """Declare the story finished; only the first time is news."""
        if await self.manuscript(event.story_id).reach(Step.FINISHED):
            self.context.logger.info("story.finished", extra={"story_id": event.story_id})


def make_plan(request: StoryRequest) -> Plan:
    """Draw a theme, find the premise's telling words, and spread the stages over the chapters."""
    return Plan(
        theme=request.dice("plan").choice(THEMES),
        motifs=telling_words(request.premise) or telling_words(request.title) or ("silence",),
        arc=tuple(_stage(number, request.chapters) for number in range(request.chapters)),
    )


def _stage(number: int, chapters: int) -> Stage:
    stages = tuple(Stage)
    if chapters == 1:
        return Stage.RECKONING
    return stages[number * (len(stages) - 1) // (chapters - 1)]
