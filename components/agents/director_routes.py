"""What clients of the demo see: POST a story, follow its progress, read its text."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from components.agents.agent import routes
from components.agents.story import steps
from components.agents.story.manuscript import Manuscript, NotInManuscript
from components.agents.story.models import StoryRequest
from components.agents.story.steps import Step
from contracts import BusError, SharedState, current_component, shared_state

router = APIRouter()
router.include_router(routes)

State = Annotated[SharedState, Depends(shared_state)]


class AcceptsStories(Protocol):
    """What these routes need of the director."""

    async def accept(self, request: StoryRequest, *, key: str | None) -> str | None: ...


class Status(StrEnum):
    """How far a story is."""

    PLANNING = "planning"
    WRITING = "writing"
    FINISHED = "finished"


class StoryView(BaseModel):
    """A story as clients see it; the numbers count chapters."""

    id: str
    request: StoryRequest
    status: Status
    drafted: int
    approved: int
    checked: int
    links: dict[str, str]


async def stored_story(story_id: str, state: State) -> Manuscript:
    """Return the manuscript of a story that exists; answer 404 for another."""
    manuscript = Manuscript(state, story_id)
    try:
        await manuscript.request()
    except NotInManuscript as exc:
        raise HTTPException(404, f"no story {story_id!r}") from exc
    return manuscript


StoredStory = Annotated[Manuscript, Depends(stored_story)]


@router.post("/", status_code=202)
async def post_story(
    story: StoryRequest,
    request: Request,
    response: Response,
    director: Annotated[AcceptsStories, Depends(current_component)],
    state: State,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> StoryView:
    """Ask for a story. The same Idempotency-Key gives the same story, however often it is sent."""
    try:
        story_id = await director.accept(story, key=idempotency_key)
    except BusError as exc:
        raise HTTPException(503, exc.what, {"Retry-After": "1"}) from exc
    if story_id is None:
        raise HTTPException(422, "this Idempotency-Key was used for another story")
    view = await _view(Manuscript(state, story_id), request)
    response.headers["Location"] = view.links["self"]
    return view


@router.get("/{story_id}")
async def get_story(manuscript: StoredStory, request: Request) -> StoryView:
    """Return a story's request and how far it is."""
    return await _view(manuscript, request)


@router.get("/{story_id}/text", response_class=PlainTextResponse)
async def get_text(manuscript: StoredStory) -> str:
    """Return the bound book; answer 409 while it is being written."""
    text = await manuscript.text()
    if text is None:
        raise HTTPException(409, "the story is not finished; follow its events", {"Retry-After": "1"})
    return text


def _resume_after(last_event_id: Annotated[str, Header()] = "") -> int:
    # What cannot be an id of ours is taken for none: the client then sees everything.
    return int(last_event_id) if re.fullmatch(r"[0-9]{1,6}", last_event_id) else 0


async def _not_at_the_end(manuscript: StoredStory, after: Annotated[int, Depends(_resume_after)]) -> None:
    """Answer 204 to a client that has seen everything: it tells an EventSource to stop reconnecting."""
    request, reached = await manuscript.request(), await manuscript.steps()
    told = steps.timeline(request.chapters, reached)
    if Step.FINISHED in reached and after >= len(told):
        raise HTTPException(204)


@router.get("/{story_id}/events", response_class=EventSourceResponse, dependencies=[Depends(_not_at_the_end)])
async def get_events(
    manuscript: StoredStory, after: Annotated[int, Depends(_resume_after)]
) -> AsyncIterator[ServerSentEvent]:
    """Send each step as it is reached, from behind Last-Event-ID on, until the story is finished."""
    async for progress in manuscript.progress(after=after):
        yield ServerSentEvent(id=str(progress.id), event=progress.step, data=progress)


async def _view(manuscript: Manuscript, request: Request) -> StoryView:
    story_id, reached = manuscript.story_id, await manuscript.steps()
    names = {"self": "get_story", "text": "get_text", "events": "get_events"}
    return StoryView(
        id=story_id,
        request=await manuscript.request(),
        status=_status(reached),
        drafted=steps.count(Step.DRAFTED, reached),
        approved=steps.count(Step.APPROVED, reached),
        checked=steps.count(Step.CHECKED, reached),
        links={name: request.url_for(route, story_id=story_id).path for name, route in names.items()},
    )


def _status(reached: dict[str, steps.Detail]) -> Status:
    if Step.FINISHED in reached:
        return Status.FINISHED
    return Status.WRITING if Step.PLOTTED in reached else Status.PLANNING
