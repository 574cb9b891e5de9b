"""Which steps a story has reached, and the progress that clients see of it.

Knows nothing of I/O. Agents record a step as a field of a hash: recording it twice changes nothing.
Clients see steps in the order of the book, as far as they are reached without a gap. That order follows
from the request, as the text does; so a step has the same id in every mode and on every replica, and a
client that resumes after an id misses none and sees none twice, whatever order the work was done in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from contracts.state import Json

Detail = dict[str, Json]


class Step(StrEnum):
    """A step of the work; those from DRAFTED to CHECKED are taken for each chapter."""

    PLANNED = "planned"
    WORLD_BUILT = "world-built"
    CAST_ASSEMBLED = "cast-assembled"
    OUTLINED = "outlined"
    PLOTTED = "plotted"
    DRAFTED = "drafted"
    REWRITTEN = "rewritten"
    APPROVED = "approved"
    CHECKED = "checked"
    BOUND = "bound"
    FINISHED = "finished"


PREPARATION = (Step.PLANNED, Step.WORLD_BUILT, Step.CAST_ASSEMBLED, Step.OUTLINED, Step.PLOTTED)


class Progress(BaseModel):
    """One step as a client sees it; `id` counts from 1."""

    model_config = ConfigDict(frozen=True)

    id: int
    step: Step
    chapter: int | None
    detail: Detail


def step_field(step: Step, chapter: int | None = None, round_: int | None = None) -> str:
    """Return the hash field of a step, such as `drafted:3` or `rewritten:3:1`."""
    return ":".join(str(part) for part in (step, chapter, round_) if part is not None)


def timeline(chapters: int, reached: Mapping[str, Detail]) -> list[Progress]:
    """Return the reached steps in the order of the book, up to the first that is missing."""
    told: list[Progress] = []
    for step, chapter, round_ in _in_order(chapters, reached):
        detail = reached.get(step_field(step, chapter, round_))
        if detail is None:
            break
        told.append(Progress(id=len(told) + 1, step=step, chapter=chapter, detail=detail))
    return told


def _in_order(chapters: int, reached: Mapping[str, Detail]) -> Iterator[tuple[Step, int | None, int | None]]:
    for step in PREPARATION:
        yield step, None, None
    for chapter in range(1, chapters + 1):
        yield Step.DRAFTED, chapter, None
        # Nobody knows in advance how often a chapter is rewritten. But every rewriting is recorded
        # before the approval that follows it, so none can turn up behind an approval already told.
        round_ = 1
        while step_field(Step.REWRITTEN, chapter, round_) in reached:
            yield Step.REWRITTEN, chapter, round_
            round_ += 1
        yield Step.APPROVED, chapter, None
        yield Step.CHECKED, chapter, None
    yield Step.BOUND, None, None
    yield Step.FINISHED, None, None


def all_checked(chapters: int, reached: Mapping[str, Detail]) -> bool:
    """Tell whether every chapter is final and measured."""
    return all(step_field(Step.CHECKED, chapter) in reached for chapter in range(1, chapters + 1))


def count(step: Step, reached: Mapping[str, Detail]) -> int:
    """Return for how many chapters a step is reached."""
    return sum(field.startswith(f"{step}:") for field in reached)
