"""What clients see of a story, over a real HTTP server; the agents' steps are taken by the tests."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI

from components.agents.director import Director
from components.agents.story.manuscript import Manuscript
from components.agents.story.steps import PREPARATION, Step
from components.agents.writer import Writer
from contracts import BusError
from control_plane.stores import MemoryState
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

PREFIX = "/api/v1/stories"
STORY = {"title": "The Keeper", "premise": "A lighthouse keeper finds a map.", "chapters": 1, "seed": 7}


@dataclass
class Context:
    """A component's context without a bus: what is published is kept in a list."""

    name: str = "director"
    replica_id: str = "director-1"
    config: Any = None
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("test"))
    state: MemoryState = field(default_factory=lambda: MemoryState("test"))
    published: list[str] = field(default_factory=list)
    refuses: bool = False

    async def publish(self, stream: str, message: Any) -> str:
        if self.refuses:
            raise BusError("stream full", code="E4004")
        self.published.append(stream)
        return "0-0"


@dataclass
class Client:
    """An HTTP client, and the context behind the server."""

    http: aiohttp.ClientSession
    context: Context

    async def post(self, story: Any = STORY, **headers: str) -> aiohttp.ClientResponse:
        return await self.http.post(PREFIX, json=story, headers=headers)

    async def posted(self) -> Manuscript:
        answer = await self.post()
        return Manuscript(self.context.state, (await answer.json())["id"])

    async def get(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        return await self.http.get(f"{PREFIX}/{path}", headers=headers)

    async def events(self, manuscript: Manuscript, *, after: int | None = None) -> list[tuple[int, str]]:
        """Return id and name of each event until the server ends the stream."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        answer = await self.get(f"{manuscript.story_id}/events", **headers)
        return parsed(await answer.text())


class QuietServer(uvicorn.Server):
    """A server that leaves signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(folder: Path, make: type[Any] = Director, *, prefix: str = PREFIX) -> AsyncIterator[Client]:
    """Serve one agent's routes below its prefix on a Unix socket."""
    context, app = Context(), FastAPI()
    component = make(context)
    app.state.component, app.state.context = component, context
    app.include_router(component.get_routes())

    async def mounted(scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"] if scope["path"] != prefix else f"{prefix}/"
        await app({**scope, "root_path": prefix, "path": path}, receive, send)

    address = str(folder / "agent.sock")
    config = uvicorn.Config(mounted, uds=address, lifespan="off", log_level="warning", interface="asgi3")
    server = QuietServer(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        await eventually(lambda: server.started)
        connector = aiohttp.UnixConnector(address)
        async with aiohttp.ClientSession("http://demo", connector=connector) as http:
            yield Client(http, context)
        server.should_exit = True


def parsed(stream: str) -> list[tuple[int, str]]:
    """Return id and name of each event in a server-sent stream."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in stream.split("\n\n") if block
    ]
    return [(int(block["id"]), block["event"]) for block in blocks]


async def write_chapter(manuscript: Manuscript) -> None:
    """Take every step before the story is bound."""
    for step in PREPARATION:
        await manuscript.reach(step)
    await manuscript.reach(Step.DRAFTED, 1)
    await manuscript.reach(Step.REWRITTEN, 1, 1)
    await manuscript.reach(Step.APPROVED, 1, round=1)
    await manuscript.reach(Step.CHECKED, 1, words=200)


async def finish(manuscript: Manuscript) -> None:
    """Take the last steps."""
    await manuscript.publish_text("The end.\n")
    await manuscript.reach(Step.BOUND)
    await manuscript.reach(Step.FINISHED)


EVERY_STEP = list(
    enumerate(
        [*PREPARATION, Step.DRAFTED, Step.REWRITTEN, Step.APPROVED, Step.CHECKED, Step.BOUND, Step.FINISHED],
        start=1,
    )
)


class TestPost:
    async def test_a_story_is_accepted_with_its_location(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            answer = await client.post()
            body = await answer.json()
            assert answer.status == 202
            assert answer.headers["Location"] == f"{PREFIX}/{body['id']}"
            assert (body["status"], body["request"]) == ("planning", STORY)
            assert client.context.published == ["story.requested"]
            assert (await client.http.get(answer.headers["Location"])).status == 200

    @pytest.mark.parametrize(
        "wrong", [{"chapters": 51}, {"seed": "x"}, {"title": ""}, {"title": 1}, {"x": 1}]
    )
    async def test_a_story_that_cannot_be_written_is_refused(
        self, tmp_path: Path, wrong: dict[str, Any]
    ) -> None:
        async with serving(tmp_path) as client:
            assert (await client.post({**STORY, **wrong})).status == 422
            assert client.context.published == []

    async def test_half_a_surrogate_pair_is_replaced(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            body = await (await client.post({**STORY, "title": "a\ud800"})).json()
            assert body["request"]["title"] == "a\ufffd"

    async def test_the_same_idempotency_key_gives_the_same_story_and_tells_of_it_again(
        self, tmp_path: Path
    ) -> None:
        """The first attempt may have died between storing the story and telling of it."""
        async with serving(tmp_path) as client:
            answers = [await client.post(**{"Idempotency-Key": "k"}) for _ in range(2)]
            ids = {(await answer.json())["id"] for answer in answers}
            assert len(ids) == 1
            assert client.context.published == ["story.requested"] * 2

    async def test_without_a_key_each_post_is_a_new_story(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            assert (await client.posted()).story_id != (await client.posted()).story_id

    async def test_a_key_that_was_used_for_another_story_is_refused(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            await client.post(**{"Idempotency-Key": "k"})
            assert (await client.post({**STORY, "seed": 8}, **{"Idempotency-Key": "k"})).status == 422

    async def test_a_bus_that_takes_nothing_is_answered_with_try_again(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            client.context.refuses = True
            answer = await client.post()
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")


class TestGet:
    async def test_the_status_follows_the_steps(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await write_chapter(manuscript)
            writing = await (await client.get(manuscript.story_id)).json()
            assert (writing["status"], writing["approved"]) == ("writing", 1)
            await finish(manuscript)
            assert (await (await client.get(manuscript.story_id)).json())["status"] == "finished"

    async def test_the_text_is_there_when_the_story_is_bound_and_not_before(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            early = await client.get(f"{manuscript.story_id}/text")
            assert (early.status, early.headers["Retry-After"]) == (409, "1")
            await finish(manuscript)
            answer = await client.get(f"{manuscript.story_id}/text")
            assert (answer.status, await answer.text()) == (200, "The end.\n")

    @pytest.mark.parametrize("path", ["nobody", "nobody/text", "nobody/events"])
    async def test_an_unknown_story_is_not_found(self, tmp_path: Path, path: str) -> None:
        async with serving(tmp_path) as client:
            assert (await client.get(path)).status == 404


class TestEvents:
    async def test_each_step_is_sent_once_and_the_stream_ends_with_the_story(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await write_chapter(manuscript)
            await finish(manuscript)
            assert await client.events(manuscript) == EVERY_STEP

    async def test_steps_arrive_as_they_are_taken(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            answer = await client.get(f"{manuscript.story_id}/events")
            await manuscript.reach(Step.PLANNED)
            block = (await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 5)).decode()
            assert parsed(block) == [(1, "planned")]
            data = json.loads(block.partition("data: ")[2].partition("\n")[0])
            assert data == {"id": 1, "step": "planned", "chapter": None, "detail": {}}
            await write_chapter(manuscript)
            await finish(manuscript)
            assert parsed(await asyncio.wait_for(answer.text(), 5)) == EVERY_STEP[1:]

    @pytest.mark.parametrize("after", [0, 1, 6, 10])
    async def test_a_client_that_resumes_misses_nothing_and_sees_nothing_twice(
        self, tmp_path: Path, after: int
    ) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await write_chapter(manuscript)
            await finish(manuscript)
            assert await client.events(manuscript, after=after) == EVERY_STEP[after:]

    @pytest.mark.parametrize("strange", ["x", "-1", "", "9" * 5000])
    async def test_an_id_that_is_none_of_ours_counts_as_none(self, tmp_path: Path, strange: str) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await write_chapter(manuscript)
            await finish(manuscript)
            answer = await client.get(f"{manuscript.story_id}/events", **{"Last-Event-ID": strange})
            assert parsed(await answer.text()) == EVERY_STEP

    async def test_an_id_beyond_the_end_does_not_keep_the_stream_open(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await manuscript.reach(Step.PLANNED)
            answer = await client.get(f"{manuscript.story_id}/events", **{"Last-Event-ID": "999"})
            await write_chapter(manuscript)
            await finish(manuscript)
            assert await asyncio.wait_for(answer.text(), 5) == ""

    async def test_a_step_ahead_of_its_turn_is_held_back(self, tmp_path: Path) -> None:
        """The second branch of the join was faster; the order of the book stays."""
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await manuscript.reach(Step.CAST_ASSEMBLED)
            await write_chapter(manuscript)
            await finish(manuscript)
            assert await client.events(manuscript) == EVERY_STEP

    async def test_who_has_seen_the_end_is_told_not_to_come_back(self, tmp_path: Path) -> None:
        """204 stops an EventSource; an empty stream would make it reconnect for ever."""
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await write_chapter(manuscript)
            await finish(manuscript)
            answer = await client.get(f"{manuscript.story_id}/events", **{"Last-Event-ID": "11"})
            assert answer.status == 204

    async def test_a_client_that_leaves_leaves_no_watcher_behind(self, tmp_path: Path) -> None:
        async with serving(tmp_path) as client:
            manuscript = await client.posted()
            await manuscript.reach(Step.PLANNED)
            answer = await client.get(f"{manuscript.story_id}/events")
            await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 5)
            notifier = client.context.state._notifier
            assert notifier.followers == 1
            answer.close()
            await eventually(lambda: notifier.followers == 0)


async def test_every_agent_says_what_it_does(tmp_path: Path) -> None:
    async with serving(tmp_path, Writer, prefix="/agents/director") as client:
        card = await (await client.http.get("/agents/director/")).json()
        assert card == {
            "agent": "director",
            "replica": "director-1",
            "does": "Drafts chapters, in the tone it is configured for.",
            "told": {},
        }
