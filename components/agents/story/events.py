"""The backend's own events: a model, and the stream that carries it, for each.

An event names what is done and carries no part of the story: parts are kept in shared state, before the
event is published. So an event may arrive late, twice or out of order, and its reader finds the part.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field


class StoryEvent(BaseModel):
    """Something is done for a whole story."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    stream: ClassVar[str]

    story_id: str


class ChapterEvent(StoryEvent):
    """Something is done for one chapter. `round` counts how often it was rewritten."""

    chapter: int = Field(ge=1)
    round: int = Field(0, ge=0)


class StoryRequested(StoryEvent):
    """A client asked for a story."""

    stream = "story.requested"


class StoryPlanned(StoryEvent):
    """The director settled theme and arc."""

    stream = "story.planned"


class WorldBuilt(StoryEvent):
    """The places are known."""

    stream = "story.world-built"


class CastAssembled(StoryEvent):
    """The characters are known."""

    stream = "story.cast-assembled"


class StoryOutlined(StoryEvent):
    """The scenes are known, not yet their order."""

    stream = "story.outlined"


class ChapterPlotted(ChapterEvent):
    """A chapter is ready to be written."""

    stream = "chapter.plotted"


class ChapterDrafted(ChapterEvent):
    """A version of a chapter waits for the critic."""

    stream = "chapter.drafted"


class ChapterCriticised(ChapterEvent):
    """The critic named a fault in this version."""

    stream = "chapter.criticised"


class ChapterApproved(ChapterEvent):
    """This version goes into the book."""

    stream = "chapter.approved"


class ChapterChecked(ChapterEvent):
    """The approved version is measured."""

    stream = "chapter.checked"


class StoryBound(StoryEvent):
    """The whole text is in shared state."""

    stream = "story.bound"
