"""Readers who ask for stories and follow each to its end, whatever happens in between.

A reader repeats a POST under its Idempotency-Key until it is accepted, follows the events from behind the
last one it saw, and compares the text with what the agents write where nothing goes wrong.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from components.agents.story.models import StoryRequest
from tests.chaos.load import ANSWER_TIMEOUT_S, FAILURES, Note, told
from tests.chaos.record import Request, Story
from tests.support.in_memory_backend import Backend as Undisturbed

STORIES_PER_S = 1.0
READERS = 24
AGAIN_S = 0.2
# Few texts, computed once each: the same request gives the same book, under whatever key.
DIFFERENT_STORIES = 20
CHAPTERS = 2


class Complaint(Exception):
    """What a reader gets is not what was promised; asking again would not help."""


class Library:
    """The texts as they must be."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def text(self, seed: int) -> str:
        """Return the book of `request_of(seed)`, from agents in a world without faults."""
        if seed not in self._texts:
            world = Undisturbed()
            (story_id,) = world.post(StoryRequest.model_validate(request_of(seed)))
            self._texts[seed] = world.text(story_id)
        return self._texts[seed]


def request_of(seed: int) -> dict[str, Any]:
    """Return what a reader asks for."""
    return {
        "title": f"Story {seed}",
        "premise": "A lighthouse keeper counts the waves",
        "chapters": CHAPTERS,
        "seed": seed,
    }


class Readers:
    """Asks for stories at a steady rate until told to stop, and reads each to its end."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        note: Note,
        *,
        now_s: Callable[[], float],
        flushed_s: Callable[[], float],
        per_s: float = STORIES_PER_S,
    ) -> None:
        self._session = session
        self._note = note
        self._now_s = now_s
        self._flushed_s = flushed_s
        self._per_s = per_s
        self._library = Library()
        self._free = asyncio.Semaphore(READERS)
        self._reading: dict[str, asyncio.Task[None]] = {}
        self.stories: list[Story] = []
        self._asked = 0
        self.closed = asyncio.Event()

    async def run(self) -> None:
        """Ask for stories until `closed`; return when each has come to its end."""
        for seed in range(DIFFERENT_STORIES):
            await asyncio.to_thread(self._library.text, seed)
        async with asyncio.TaskGroup() as tasks:
            began_s = time.monotonic()
            while not self.closed.is_set():
                number = self._asked
                await asyncio.sleep(began_s + number / self._per_s - time.monotonic())
                await self._free.acquire()
                self._asked += 1
                self.stories.append(Story(f"story-{number}", number % DIFFERENT_STORIES))
                self._reading[self.stories[-1].key] = tasks.create_task(self._read(self.stories[-1]))

    def take_done(self) -> list[Story]:
        """Return the stories that were read, or never will be, and forget them."""
        done = [story for story in self.stories if story.ended_s < self._now_s()]
        for story in done:
            self.stories.remove(story)
            del self._reading[story.key]
        return done

    def give_up(self) -> None:
        """Wait no longer for stories that were asked for before the bus was emptied."""
        for story in self.stories:
            if story.asked_s < self._flushed_s() < story.ended_s:
                self._reading[story.key].cancel()

    async def _read(self, story: Story) -> None:
        try:
            await self._ask_for(story)
            await self._follow(story)
            await self._compare(story)
            story.finished_s = self._now_s()
        except Complaint as exc:
            story.problem = str(exc)
        except asyncio.CancelledError:
            story.problem = f"was given up at {self._now_s():.1f} s"
            raise
        finally:
            story.ended_s = self._now_s()
            self._free.release()

    async def _ask_for(self, story: Story) -> None:
        headers = {"Idempotency-Key": story.key}
        while not story.location:
            sent_s = self._now_s()
            try:
                async with (
                    asyncio.timeout(ANSWER_TIMEOUT_S + 5),
                    self._session.post(
                        "/api/v1/stories", json=request_of(story.seed), headers=headers
                    ) as answer,
                ):
                    assert answer.status == 202, await told(answer)
                    location = answer.headers["Location"]
            except FAILURES as exc:
                await self._failed("post story", sent_s, exc)
            else:
                story.location, story.asked_s, story.accepted_s = location, sent_s, self._now_s()
                self._noted("post story", sent_s)
                if sent_s < self._flushed_s():
                    raise Complaint("asked for while the bus was emptied")

    async def _follow(self, story: Story) -> None:
        """Read the events to the end: no id is missing, none comes twice, one says that it is finished."""
        seen: list[str] = []
        while "finished" not in seen:
            sent_s = self._now_s()
            try:
                async for number, event in self._events(story, after=len(seen)):
                    if number != len(seen) + 1:
                        raise Complaint(f"event {number} ({event}) came after event {len(seen)}")
                    seen.append(event)
            except FAILURES as exc:
                await self._failed("story events", sent_s, exc)
            else:
                self._noted("story events", sent_s)
        if seen.count("finished") != 1:
            raise Complaint(f"finished more than once: {seen}")

    async def _events(self, story: Story, *, after: int) -> AsyncIterator[tuple[int, str]]:
        headers = {"Last-Event-ID": str(after)} if after else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=2 * ANSWER_TIMEOUT_S)
        async with self._session.get(f"{story.location}/events", headers=headers, timeout=timeout) as answer:
            await _refuse_gone(answer)
            assert answer.status == 200, await told(answer)
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "data" in fields:
                    yield int(fields["id"]), fields["event"]
                    fields = {}

    async def _compare(self, story: Story) -> None:
        while True:
            sent_s = self._now_s()
            try:
                async with (
                    asyncio.timeout(ANSWER_TIMEOUT_S + 5),
                    self._session.get(f"{story.location}/text") as answer,
                ):
                    await _refuse_gone(answer)
                    assert answer.status == 200, await told(answer)
                    text = await answer.text()
            except FAILURES as exc:
                await self._failed("story text", sent_s, exc)
            else:
                self._noted("story text", sent_s)
                break
        if text != self._library.text(story.seed):
            raise Complaint(f"the text is not the right one: {text[:200]!r}")

    # Notes.

    def _noted(self, kind: str, sent_s: float) -> None:
        self._note(Request(kind, "director", sent_s, self._now_s(), needs_bus=True))

    async def _failed(self, kind: str, sent_s: float, why: BaseException) -> None:
        self._note(Request(kind, "director", sent_s, self._now_s(), repr(why), needs_bus=True))
        await asyncio.sleep(AGAIN_S)


async def _refuse_gone(answer: aiohttp.ClientResponse) -> None:
    if answer.status == 404 and "no story" in (text := await answer.text()):
        raise Complaint(text)
