"""The critic: scores drafts, and sends back what is not good enough, a bounded number of times."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from components.agents.agent import Agent
from components.agents.story.events import ChapterApproved, ChapterCriticised, ChapterDrafted
from components.agents.story.models import Draft, Fault, Review
from components.agents.story.prose import choppy_at, count_crutches, echoes_at
from components.agents.story.steps import Step

POINTS = {Fault.CRUTCH: 5, Fault.ECHO: 6, Fault.CHOPPY: 8}  # what one occurrence costs, of 100


class Critic(Agent):
    """Scores drafts, names the worst fault of each, and approves what is good enough."""

    class Config(BaseModel):
        """`[components.critic.config]`."""

        model_config = ConfigDict(frozen=True, extra="forbid")

        threshold: int = Field(90, ge=0, le=100)
        max_rounds: int = Field(3, ge=0, le=10)

        def approves(self, review: Review, *, round_: int) -> bool:
            """Tell whether a draft goes into the book; after the last round every draft does."""
            return review.worst is None or review.score >= self.threshold or round_ >= self.max_rounds

    async def startup(self) -> None:
        """Listen for drafts, first ones and rewritten ones."""
        self.listen(ChapterDrafted, self.judge)

    async def judge(self, event: ChapterDrafted) -> None:
        """Approve a draft, or send it to the rewriter. The round comes with the event: nothing is counted."""
        manuscript = self.manuscript(event.story_id)
        review = review_draft(await manuscript.draft(event.chapter, event.round))
        await manuscript.keep(f"review:{event.chapter}:{event.round}", review)
        if self.context.config.approves(review, round_=event.round):
            await manuscript.reach(Step.APPROVED, event.chapter, round=event.round, score=review.score)
            await self.tell(ChapterApproved(**event.model_dump()))
        else:
            await self.tell(ChapterCriticised(**event.model_dump()))


def review_draft(draft: Draft) -> Review:
    """Score a draft: 100 points, less what its faults cost; the costliest fault is the worst."""
    costs = {
        Fault.CRUTCH: POINTS[Fault.CRUTCH] * count_crutches(draft),
        Fault.ECHO: POINTS[Fault.ECHO] * sum(len(echoes_at(one)) for one in draft.paragraphs),
        Fault.CHOPPY: POINTS[Fault.CHOPPY] * sum(len(choppy_at(one)) for one in draft.paragraphs),
    }
    worst = max(costs, key=lambda fault: costs[fault])
    return Review(score=max(0, 100 - sum(costs.values())), worst=worst if costs[worst] else None)
