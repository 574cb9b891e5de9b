"""The plotmaster: puts the scenes in order and hands out the chapters."""

from __future__ import annotations

from itertools import cycle

from components.agents.agent import Agent
from components.agents.story.events import ChapterPlotted, StoryOutlined
from components.agents.story.models import ChapterPlan, Outline, Plot, Scene, Stage, StoryRequest
from components.agents.story.phrases import HEADINGS
from components.agents.story.steps import Step


class Plotmaster(Agent):
    """Orders the scenes of a story into chapters and hands them to the writers."""

    async def startup(self) -> None:
        """Listen for outlines."""
        self.listen(StoryOutlined, self.order)

    async def order(self, event: StoryOutlined) -> None:
        """Order the scenes, then tell of each chapter: from here on, chapters go their own ways."""
        manuscript = self.manuscript(event.story_id)
        outline = await manuscript.part("outline", Outline)
        plot = make_plot(await manuscript.request(), outline)
        await manuscript.keep("plot", plot)
        await manuscript.reach(Step.PLOTTED, chapters=len(plot.chapters))
        for chapter in plot.chapters:
            await self.tell(ChapterPlotted(story_id=event.story_id, chapter=chapter.number))


def make_plot(request: StoryRequest, outline: Outline) -> Plot:
    """Order scenes by stage, then by tension; let each chapter know where the next one happens."""
    headings = cycle(request.dice("plot").sample(HEADINGS, len(HEADINGS)))
    stages = list(Stage)
    scenes = sorted(outline.scenes, key=lambda scene: (stages.index(scene.stage), scene.tension))
    chapters = []
    for number, scene in enumerate(scenes, start=1):
        next_place = scenes[number].place.name if number < len(scenes) else None
        heading = _heading(scene, next(headings))
        chapters.append(ChapterPlan(number=number, heading=heading, scene=scene, next_place=next_place))
    return Plot(chapters=tuple(chapters))


def _heading(scene: Scene, pattern: str) -> str:
    place = scene.place.name.removeprefix("the ")
    return pattern.format(place=place, hero=scene.hero.name, other=scene.other.name)
