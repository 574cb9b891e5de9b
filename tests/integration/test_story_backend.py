"""The ten agents on a real broker, real state and real worker processes, from request to bound book."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from components.agents.director import Director
from components.agents.story.manuscript import Manuscript
from components.agents.story.models import StoryRequest
from components.agents.story.steps import Progress, Step
from contracts.specs import ComponentSpec
from control_plane.brokers import BusBroker, open_transport
from control_plane.runtime.context import HostServices, ReplicaContext
from control_plane.runtime.loading import load_factory, validated_config
from control_plane.runtime.owned_tasks import OwnedTasks
from control_plane.runtime.workers import WorkerPool
from control_plane.stores import open_state
from tests.support.in_memory_backend import Backend, agent_tables
from tests.support.redis_servers import running_server

pytestmark = pytest.mark.anyio

REQUEST = StoryRequest(title="The Keeper", premise="A lighthouse keeper finds a map.", chapters=6, seed=11)


@pytest.fixture(params=["memory", "valkey"])
def bus_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        yield "memory://"
    else:
        with running_server(request.param, tmp_path) as server:
            yield server.url


@asynccontextmanager
async def running_agents(bus_url: str, **replicas: int) -> AsyncIterator[Director]:
    """Run every agent of ctl.toml, and more replicas of those named; yield a director."""
    async with AsyncExitStack() as exits:
        transport = await open_transport(bus_url)
        exits.push_async_callback(transport.close)
        workers = WorkerPool(max_workers=1)
        exits.callback(workers.close)
        # No agent calls another one or asks where it is.
        nobody = cast("Any", None)
        services = HostServices(
            await exits.enter_async_context(open_state("test", bus_url)), nobody, nobody, workers, logs=Path()
        )
        tasks = OwnedTasks(
            await exits.enter_async_context(asyncio.TaskGroup()), component="agents", replica="agents-1"
        )
        agents: dict[str, Any] = {}
        for name, table in agent_tables().items():
            for number in range(1, replicas.get(name, 1) + 1):
                broker = BusBroker(
                    app="test", component=name, replica=f"{name}-{number}", transport=transport
                )
                spec = ComponentSpec(name=name, **table)
                agents[name] = made_agent(spec, broker=broker, services=services, tasks=tasks)
                await agents[name].startup()
                await broker.start()
                exits.push_async_callback(broker.stop)
                exits.push_async_callback(broker.drain, 5.0)
        yield agents["director"]


def made_agent(spec: ComponentSpec, *, broker: BusBroker, services: HostServices, tasks: OwnedTasks) -> Any:
    """Return a replica of an agent, constructed as a host does it."""
    factory = load_factory(spec)
    return factory(
        ReplicaContext(
            name=spec.name,
            replica_id=f"{spec.name}-1",
            config=validated_config(factory, spec),
            broker=broker,
            services=services,
            tasks=tasks,
            environment={},
            finish=lambda: None,
        )
    )


async def written(
    director: Director, request: StoryRequest, *, key: str | None = None
) -> tuple[str, list[Progress]]:
    """Ask for a story, follow it to its end, and return its text and progress."""
    story_id = await director.accept(request, key=key)
    assert story_id is not None
    manuscript = Manuscript(director.context.state, story_id)
    async with asyncio.timeout(60):
        progress = [one async for one in manuscript.progress()]
    text = await manuscript.text()
    assert text is not None
    return text, progress


def simulated(request: StoryRequest) -> tuple[str, list[Progress]]:
    """Return the same from the simulation."""
    backend = Backend()
    [story_id] = backend.post(request)
    return backend.text(story_id), backend.progress(story_id, chapters=request.chapters)


@pytest.mark.parametrize("writers", [1, 3])
async def test_a_story_is_the_same_bytes_and_steps_however_many_writers(bus_url: str, writers: int) -> None:
    async with running_agents(bus_url, writer=writers) as director:
        assert await written(director, REQUEST) == simulated(REQUEST)


async def test_stories_written_at_once_are_each_finished_once(bus_url: str) -> None:
    requests = [REQUEST.model_copy(update={"seed": seed, "chapters": 3}) for seed in range(20)]
    async with running_agents(bus_url, writer=2, critic=2, rewriter=2) as director:
        stories = await asyncio.gather(*(written(director, request) for request in requests))
    assert stories == [simulated(request) for request in requests]
    for _, progress in stories:
        assert [one.step for one in progress].count(Step.FINISHED) == 1


async def test_a_repeated_request_gives_the_story_that_is_there(bus_url: str) -> None:
    async with running_agents(bus_url) as director:
        first = await written(director, REQUEST, key="k")
        assert await written(director, REQUEST, key="k") == first
