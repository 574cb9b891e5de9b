"""The parts of a story, as agents keep them in shared state.

Immutable. Each part is a function of the request alone: never of the story's id, the time or the replica.
"""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_CHAPTERS = 50
LARGEST_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exactly


def _on_one_line(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # JSON can carry half a surrogate pair, UTF-8 cannot: it becomes the replacement character.
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(whole.split())


OneLine = Annotated[str, BeforeValidator(_on_one_line)]


class Part(BaseModel):
    """Base of every part: immutable; keys that a newer version added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class StoryRequest(Part):
    """What a client asks for; the whole text follows from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: OneLine = Field(min_length=1, max_length=200)
    premise: OneLine = Field(min_length=1, max_length=2000)
    chapters: int = Field(3, ge=1, le=MAX_CHAPTERS)
    seed: int = Field(0, ge=0, le=LARGEST_SEED)

    def dice(self, *part: str | int) -> random.Random:
        """Return the random numbers of one part: the same ones wherever and whenever it is written."""
        return random.Random("\n".join(map(str, (self.seed, self.title, self.premise, self.chapters, *part))))


class Stage(StrEnum):
    """Where in its arc a story is, in order."""

    OPENING = "opening"
    DISTURBANCE = "disturbance"
    PURSUIT = "pursuit"
    SETBACK = "setback"
    DISCOVERY = "discovery"
    CRISIS = "crisis"
    RECKONING = "reckoning"
    RETURN = "return"


class Plan(Part):
    """The director's: what the story is about, and the stage of every chapter."""

    theme: str
    motifs: tuple[str, ...]
    arc: tuple[Stage, ...]


class Place(Part):
    """Somewhere a chapter may happen."""

    name: str
    detail: str


class World(Part):
    """The worldbuilder's."""

    realm: str
    custom: str
    places: tuple[Place, ...]


class Character(Part):
    """One of the cast."""

    name: str
    pronoun: Literal["she", "he"]
    want: str
    manner: str


class Cast(Part):
    """The character expert's; the first is whom the story is about."""

    characters: tuple[Character, ...]


class Scene(Part):
    """What one chapter tells. `tension` orders the scenes of one stage."""

    stage: Stage
    tension: int
    place: Place
    hero: Character
    other: Character
    keepsake: str


class Outline(Part):
    """The outliner's: every scene, in the order they came to mind."""

    scenes: tuple[Scene, ...]


class ChapterPlan(Part):
    """A scene with its place in the book. `next_place` is where the story goes on, if it does."""

    number: int
    heading: str
    scene: Scene
    next_place: str | None


class Plot(Part):
    """The plotmaster's: the chapters, in the order of the book."""

    chapters: tuple[ChapterPlan, ...]


class Draft(Part):
    """One version of a chapter: paragraphs of sentences."""

    heading: str
    paragraphs: tuple[tuple[str, ...], ...]


class Fault(StrEnum):
    """What a critic may name, and a rewriter mends."""

    CRUTCH = "leans on words that say nothing"
    ECHO = "begins two sentences in a row with the same word"
    CHOPPY = "sets one short sentence after another"


class Review(Part):
    """The critic's judgement of one draft. `worst` is None where there is nothing to mend."""

    score: int
    worst: Fault | None
