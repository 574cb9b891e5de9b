"""One story in shared state: the only module that knows the keys.

    story:{id}          the request
    story:{id}:parts    hash: plan, world, cast, outline, plot, draft:{chapter}:{round}, review:...
    story:{id}:steps    hash: what is done, with a small detail each (see steps.py)
    story:{id}:text     the bound book

Parts and steps are the same whoever computes them, so writing one again changes nothing; the request and
the text are written once, by compare-and-set.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeVar, cast

from components.agents.story.models import Draft, Part, StoryRequest
from components.agents.story.steps import Detail, Progress, Step, step_field, timeline
from contracts import SharedState
from contracts.state import Json

P = TypeVar("P", bound=Part)


class NotInManuscript(LookupError):
    """The story, or the part of it that was asked for, is not in shared state."""


class Manuscript:
    """Typed access to one story."""

    def __init__(self, state: SharedState, story_id: str) -> None:
        self._state = state
        self._key = f"story:{story_id}"
        self.story_id = story_id

    async def open(self, request: StoryRequest) -> bool:
        """Store the request; return whether the story is of this request (and not of another)."""
        wanted = request.model_dump(mode="json")
        if await self._state.compare_and_set(self._key, None, wanted):
            return True
        return bool(await self._state.get(self._key) == wanted)

    async def request(self) -> StoryRequest:
        """Return the request."""
        return StoryRequest.model_validate(self._found(await self._state.get(self._key), "request"))

    async def keep(self, name: str, part: Part) -> None:
        """Store a part."""
        await self._state.hash_set(f"{self._key}:parts", name, part.model_dump(mode="json"))

    async def part(self, name: str, model: type[P]) -> P:
        """Return a part."""
        return model.model_validate(self._found(await self._part(name), name))

    async def has(self, *names: str) -> bool:
        """Tell whether all these parts are there."""
        return None not in [await self._part(name) for name in names]

    async def keep_draft(self, chapter: int, round_: int, draft: Draft) -> None:
        """Store one version of a chapter."""
        await self.keep(f"draft:{chapter}:{round_}", draft)

    async def draft(self, chapter: int, round_: int) -> Draft:
        """Return one version of a chapter."""
        return await self.part(f"draft:{chapter}:{round_}", Draft)

    async def reach(
        self, step: Step, chapter: int | None = None, round_: int | None = None, **detail: Json
    ) -> bool:
        """Record a step; return whether that is news."""
        return await self._state.hash_set(f"{self._key}:steps", step_field(step, chapter, round_), detail)

    async def steps(self) -> dict[str, Detail]:
        """Return every step reached, by field."""
        return await self._state.hash_all(f"{self._key}:steps")

    async def progress(self, *, after: int = 0) -> AsyncIterator[Progress]:
        """Iterate over the progress behind the step with id `after`, as it comes, until FINISHED."""
        chapters = (await self.request()).chapters
        # SharedState promises an iterator only; every store's is a generator, which wants closing.
        watch = cast("Any", self._state.watch(f"{self._key}:steps"))
        async with aclosing(watch) as changes:
            async for change in changes:
                told = timeline(chapters, change.value or {})
                for news in told[after:]:
                    yield news
                after = max(after, len(told))
                if told and told[-1].step is Step.FINISHED:
                    return

    async def publish_text(self, text: str) -> None:
        """Store the book, unless it is there."""
        await self._state.compare_and_set(f"{self._key}:text", None, text)

    async def text(self) -> str | None:
        """Return the book, or None while it is not bound."""
        found: str | None = await self._state.get(f"{self._key}:text")
        return found

    async def _part(self, name: str) -> Json:
        return await self._state.hash_get(f"{self._key}:parts", name)

    def _found(self, value: Json, name: str) -> Json:
        if value is None:
            raise NotInManuscript(f"story {self.story_id} has no {name}")
        return value
