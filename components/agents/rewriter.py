"""The rewriter: mends what the critic names, and nothing else."""

from __future__ import annotations

from itertools import cycle
from random import Random
from typing import assert_never

from components.agents.agent import Agent
from components.agents.story.events import ChapterCriticised, ChapterDrafted
from components.agents.story.models import Draft, Fault, Review
from components.agents.story.phrases import LEADS
from components.agents.story.prose import join_choppy, lead_in, without_crutches
from components.agents.story.steps import Step


class Rewriter(Agent):
    """Mends the fault that the critic named and hands the chapter back."""

    async def startup(self) -> None:
        """Listen for drafts that were not good enough."""
        self.listen(ChapterCriticised, self.rewrite)

    async def rewrite(self, event: ChapterCriticised) -> None:
        """Write the next version beside the old one, so that a second delivery finds the same old one."""
        manuscript = self.manuscript(event.story_id)
        draft = await manuscript.draft(event.chapter, event.round)
        review = await manuscript.part(f"review:{event.chapter}:{event.round}", Review)
        dice = (await manuscript.request()).dice("rewrite", event.chapter, event.round)
        next_round = event.round + 1
        await manuscript.keep_draft(event.chapter, next_round, mend(draft, review, dice))
        await manuscript.reach(Step.REWRITTEN, event.chapter, next_round, mended=review.worst)
        await self.tell(ChapterDrafted(story_id=event.story_id, chapter=event.chapter, round=next_round))


def mend(draft: Draft, review: Review, dice: Random) -> Draft:
    """Return the draft without its worst fault."""
    leads = cycle(dice.sample(LEADS, len(LEADS)))
    match review.worst:
        case None:
            paragraphs = draft.paragraphs
        case Fault.CRUTCH:
            paragraphs = tuple(tuple(map(without_crutches, one)) for one in draft.paragraphs)
        case Fault.ECHO:
            paragraphs = tuple(lead_in(one, leads) for one in draft.paragraphs)
        case Fault.CHOPPY:
            paragraphs = tuple(join_choppy(one) for one in draft.paragraphs)
        case _:
            assert_never(review.worst)
    return draft.model_copy(update={"paragraphs": paragraphs})
