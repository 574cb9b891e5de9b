"""The writer: drafts chapters. Replicas compete for them; it does not matter which one gets which."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from components.agents.agent import Agent
from components.agents.story.events import ChapterDrafted, ChapterPlotted
from components.agents.story.grammar import tell
from components.agents.story.models import ChapterPlan, Draft, Plan, Plot, StoryRequest, World
from components.agents.story.phrases import PRONOUNS
from components.agents.story.steps import Step


class Writer(Agent):
    """Drafts chapters, in the tone it is configured for."""

    class Config(BaseModel):
        """`[components.writer.config]`."""

        model_config = ConfigDict(frozen=True, extra="forbid")

        tone: Literal["plain", "noir", "fable"] = "plain"

    async def startup(self) -> None:
        """Listen for chapters to write."""
        self.listen(ChapterPlotted, self.write)

    async def write(self, event: ChapterPlotted) -> None:
        """Draft one chapter."""
        manuscript = self.manuscript(event.story_id)
        plan = await manuscript.part("plan", Plan)
        world = await manuscript.part("world", World)
        plot = await manuscript.part("plot", Plot)
        chapter = plot.chapters[event.chapter - 1]
        tone = self.context.config.tone
        draft = make_draft(await manuscript.request(), chapter, facts=gather(plan, world, chapter), tone=tone)
        await manuscript.keep_draft(event.chapter, 0, draft)
        await manuscript.reach(Step.DRAFTED, event.chapter, heading=draft.heading)
        await self.tell(ChapterDrafted(story_id=event.story_id, chapter=event.chapter))


def gather(plan: Plan, world: World, chapter: ChapterPlan) -> dict[str, str]:
    """Return what the sentences of one chapter may speak of."""
    scene = chapter.scene
    return {
        "hero": scene.hero.name,
        **PRONOUNS[scene.hero.pronoun],
        "want": scene.hero.want,
        "other": scene.other.name,
        "manner": scene.other.manner,
        "keepsake": scene.keepsake,
        "the_keepsake": scene.keepsake.replace("a ", "the ", 1),
        "place": scene.place.name,
        "detail": scene.place.detail,
        "next_place": chapter.next_place or "home",
        "realm": world.realm,
        "custom": world.custom,
        "theme": plan.theme,
        "motif": plan.motifs[chapter.number % len(plan.motifs)],
    }


def make_draft(request: StoryRequest, chapter: ChapterPlan, *, facts: dict[str, str], tone: str) -> Draft:
    """Tell one chapter in four paragraphs: arrival, what happens, what is said, what remains."""
    mood, ending = f"tone_{tone}", "onward" if chapter.next_place else "ending"
    shape = (
        ("setting", "setting", "beat", mood),
        (*[chapter.scene.stage] * 4, "beat", "beat"),
        ("speech", "answer", "gesture", "speech"),
        ("reflection", "word", mood, ending),
    )
    return Draft(heading=chapter.heading, paragraphs=tell(request, chapter.number, facts=facts, shape=shape))
