"""The demo's agents in a world that may do to them whatever a real one might, and can repeat it.

One thread and no event loop: every call that an agent makes on its context is a turn, before and after
its effect, at which another handler may go on, or the replica may be killed. Which one, `Chaos` says:
its seed makes messages overtake each other, arrive twice, and be delivered again after a kill.
"""

from __future__ import annotations

import importlib
import json
import logging
import tomllib
import types
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, TypeAdapter

from components.agents.director import Director
from components.agents.story.models import StoryRequest
from components.agents.story.steps import Progress, timeline

T = TypeVar("T")

CTL_TOML = Path(__file__).parents[2] / "ctl.toml"
NOT_AGENTS = ("gateway",)


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let the world go on, or end, here."""
    yield


@dataclass
class Chaos:
    """What goes wrong. The default is nothing: messages arrive once, in order, one after another."""

    seed: int | None = None
    duplicate_chance: float = 0.0
    kill_chance: float = 0.0
    kill_at_turn: int | None = None
    at_once: int = 1
    dice: Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = Random(self.seed)

    def pick(self, choices: list[Any]) -> Any:
        """Take one out: the first where there is no seed."""
        return choices.pop(0 if self.seed is None else self.dice.randrange(len(choices)))

    def kills(self, turn_number: int) -> bool:
        """Tell whether the replica dies at this turn."""
        return turn_number == self.kill_at_turn or self.dice.random() < self.kill_chance

    def duplicates(self) -> bool:
        """Tell whether a message that was handled comes again."""
        return self.dice.random() < self.duplicate_chance


class SimulatedState:
    """What the agents use of `SharedState`. `once` is the weakest allowed: it excludes nobody."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.hashes: dict[str, dict[str, Any]] = defaultdict(dict)

    async def get(self, key: str, default: Any = None) -> Any:
        return await self._turn(lambda: self.values.get(key, default))

    async def compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        return await self._turn(lambda: self._compare_and_set(key, expected, value))

    async def hash_get(self, key: str, name: str, default: Any = None) -> Any:
        return await self._turn(lambda: self.hashes[key].get(name, default))

    async def hash_all(self, key: str) -> dict[str, Any]:
        return await self._turn(lambda: dict(self.hashes[key]))

    async def hash_set(self, key: str, name: str, value: Any) -> bool:
        return await self._turn(lambda: self._hash_set(key, name, value))

    async def once(self, key: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        if await self.get(f"once:{key}") is None:
            await effect()
            await self.compare_and_set(f"once:{key}", None, "done")

    @staticmethod
    async def _turn(effect: Callable[[], T]) -> T:
        await turn()
        result: T = json.loads(json.dumps(effect()))
        await turn()
        return result

    def _compare_and_set(self, key: str, expected: Any, value: Any) -> bool:
        matches: bool = self.values.get(key) == expected
        if matches:
            self.values[key] = value
        return matches

    def _hash_set(self, key: str, name: str, value: Any) -> bool:
        is_new = name not in self.hashes[key]
        self.hashes[key][name] = value
        return is_new


@dataclass(frozen=True)
class Delivery:
    """Something that is to be handled until it was: a message for one component, or a client's request."""

    component: str
    start: Callable[[], Coroutine[Any, Any, Any]]


class SimulatedContext:
    """What the agents use of `ComponentContext`."""

    def __init__(self, backend: Backend, name: str, config: Any) -> None:
        self.name = name
        self.replica_id = f"{name}-1"
        self.config = config
        self.logger = logging.getLogger(f"component.{name}")
        self.state = backend.state
        self._backend = backend

    async def publish(self, stream: str, message: BaseModel) -> str:
        await turn()
        self._backend.deliver(stream, message.model_dump_json())
        await turn()
        return "0-0"

    def subscribe(self, stream: str, handler: Callable[..., Any], **_delivery: Any) -> None:
        self._backend.subscribe(self.name, stream, handler)

    async def run_in_process(self, func: Callable[..., Any], *args: Any) -> Any:
        await turn()
        return func(*args)


class Backend:
    """All agents of ctl.toml, their streams and their state."""

    def __init__(self, chaos: Chaos | None = None) -> None:
        self.state = SimulatedState()
        self.chaos = chaos or Chaos()
        self.turns = 0
        self.on_turn: Callable[[], None] = lambda: None
        self._waiting: list[Delivery] = []
        self._running: list[tuple[Delivery, Coroutine[Any, Any, Any]]] = []
        self._subscribers: dict[str, list[tuple[str, Callable[..., Any]]]] = defaultdict(list)
        self.agents = {name: self._made(name, table) for name, table in agent_tables().items()}

    def _made(self, name: str, table: dict[str, Any]) -> Any:
        module, _, attribute = table["use"].partition(":")
        agent_class = getattr(importlib.import_module(module), attribute)
        config = table.get("config", {})
        if hasattr(agent_class, "Config"):
            config = agent_class.Config.model_validate(config)
        agent = agent_class(SimulatedContext(self, name, config))
        run_alone(agent.startup())
        return agent

    def subscribe(self, component: str, stream: str, handler: Callable[..., Any]) -> None:
        self._subscribers[stream].append((component, handler))

    def deliver(self, stream: str, payload: str) -> None:
        """Queue a message for each component that listens; its annotation validates the payload."""
        for component, handler in self._subscribers[stream]:
            hints = get_type_hints(handler)
            event = TypeAdapter(hints["event"]).validate_json(payload)
            self._waiting.append(Delivery(component, partial(handler, event)))

    def post(self, *requests: StoryRequest, key: str = "key") -> list[str]:
        """Let clients ask for stories until all are answered and written; return the stories' ids."""
        answers: list[set[str | None]] = [set() for _ in requests]
        for number, (request, answer) in enumerate(zip(requests, answers, strict=True)):
            self._waiting.append(Delivery("client", partial(self._ask, request, f"{key}-{number}", answer)))
        self.run()
        return [story_id for [story_id] in answers if story_id is not None]

    async def _ask(self, request: StoryRequest, key: str, answer: set[str | None]) -> None:
        director: Director = self.agents["director"]
        answer.add(await director.accept(request, key=key))

    def run(self) -> None:
        """Go on until every delivery is handled."""
        while self._waiting or self._running:
            while self._waiting and len(self._running) < self.chaos.at_once:
                delivery = self.chaos.pick(self._waiting)
                self._running.append((delivery, delivery.start()))
            self._step(*self.chaos.pick(self._running))

    def _step(self, delivery: Delivery, handler: Coroutine[Any, Any, Any]) -> None:
        self.turns += 1
        if self.chaos.kills(self.turns):
            handler.close()
            self._waiting.append(delivery)
            return
        try:
            handler.send(None)
        except StopIteration:
            if self.chaos.duplicates():
                self._waiting.append(delivery)
        else:
            self._running.insert(0, (delivery, handler))
        self.on_turn()

    def text(self, story_id: str) -> str:
        """Return the bound book."""
        text: str = self.state.values[f"story:{story_id}:text"]
        return text

    def progress(self, story_id: str, *, chapters: int) -> list[Progress]:
        """Return what a client would see."""
        return timeline(chapters, self.state.hashes[f"story:{story_id}:steps"])


def agent_tables() -> dict[str, dict[str, Any]]:
    """Return the tables of ctl.toml that declare agents."""
    components = tomllib.loads(CTL_TOML.read_text())["components"]
    return {name: table for name, table in components.items() if name not in NOT_AGENTS}


def run_alone(work: Coroutine[Any, Any, Any]) -> None:
    """Run a coroutine to its end, with nothing in between."""
    try:
        while True:
            work.send(None)
    except StopIteration:
        return
