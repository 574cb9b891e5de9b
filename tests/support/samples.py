"""Components that misbehave in one way each, and one that behaves."""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from contracts import ComponentContext, current_component
from contracts.errors import BusError
from tests.support.stand_in_host import LEAVING


class Good:
    """Behaves: counts its lives in shared state, echoes, and handles `pings`."""

    class Config(BaseModel):
        greeting: str = "hello"

    def __init__(self, context: ComponentContext) -> None:
        self.context = context
        context.subscribe("pings", self.on_ping)

    async def startup(self) -> None:
        await self.context.state.increment(f"{self.context.replica_id}:starts")

    async def shutdown(self) -> None:
        await self.context.state.increment(f"{self.context.replica_id}:stops")

    async def on_ping(self, message: dict[str, Any]) -> None:
        await self.context.state.hash_set("pings", str(message["n"]), self.context.replica_id)

    def get_routes(self) -> APIRouter | None:
        router = APIRouter()

        @router.get("/")
        async def greet(me: Annotated[Any, Depends(current_component)]) -> dict[str, str]:
            return {"greeting": me.context.config.greeting}

        @router.get("/boom")
        async def boom() -> None:
            raise RuntimeError("a route went wrong")

        @router.get("/exit")
        async def leave() -> None:
            raise SystemExit(3)

        @router.get("/ticks")
        async def ticks() -> StreamingResponse:
            return StreamingResponse(endless_ticks(), media_type="text/event-stream")

        return router

    def health_check(self) -> dict[str, Any]:
        return {"status": "ok"}


async def endless_ticks() -> Any:
    """Send one event and then keep the stream open."""
    yield b"data: tick\n\n"
    await asyncio.Event().wait()


class Quiet:
    """Does nothing; the base of the misbehaving ones."""

    def __init__(self, context: ComponentContext) -> None:
        self.context = context

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    def get_routes(self) -> APIRouter | None:
        return None

    def health_check(self) -> dict[str, Any]:
        return {"status": "ok"}


class RaisesInConstructor(Quiet):
    def __init__(self, context: ComponentContext) -> None:
        raise RuntimeError("no constructor for you")


class RaisesInStartup(Quiet):
    async def startup(self) -> None:
        raise ConnectionError("the database is away")


class ExitsInStartup(Quiet):
    async def startup(self) -> None:
        raise SystemExit(7)


class HangsInStartup(Quiet):
    async def startup(self) -> None:
        await asyncio.Event().wait()


class BlocksTheLoop(Quiet):
    async def startup(self) -> None:
        time.sleep(600)  # noqa: ASYNC251 - that is its fault


class StartsDaemons(Quiet):
    """Starts processes that leave its group, and it, in every way that there is."""

    async def startup(self) -> None:
        for command in LEAVING.values():
            with subprocess.Popen(command, stdout=subprocess.PIPE) as started:  # noqa: ASYNC220 - it is quick
                assert started.stdout is not None
                started.stdout.readline()


class Talks(Quiet):
    """Prints and logs whenever it is asked."""

    def get_routes(self) -> APIRouter | None:
        router = APIRouter()

        @router.get("/")
        async def talk() -> dict[str, str]:
            print("printed", flush=True)
            self.context.logger.warning("logged")
            return {"said": "all"}

        return router


class Bell(Quiet):
    """Publishes when it is asked, and says what came of it."""

    def get_routes(self) -> APIRouter | None:
        router = APIRouter()

        @router.get("/")
        async def greet() -> dict[str, str]:
            return {"greeting": "hello"}

        @router.post("/ring/{number}")
        async def ring(number: int) -> dict[str, str]:
            try:
                await self.context.publish("rings", {"number": number}, timeout_s=1.0)
            except BusError as exc:
                return {"outcome": exc.code}
            return {"outcome": "accepted"}

        return router


class Ear(Quiet):
    """Remembers what it heard."""

    def __init__(self, context: ComponentContext) -> None:
        super().__init__(context)
        self.heard: list[int] = []
        context.subscribe("rings", self.on_ring)

    async def on_ring(self, message: dict[str, int]) -> None:
        self.heard.append(message["number"])

    def get_routes(self) -> APIRouter | None:
        router = APIRouter()

        @router.get("/")
        async def tell() -> list[int]:
            return self.heard

        return router


class Naps(Quiet):
    """Blocks the loop for as long as a message, a request or a word in the shared state says."""

    def __init__(self, context: ComponentContext) -> None:
        super().__init__(context)
        context.subscribe("naps", self.on_nap)

    async def startup(self) -> None:
        self.context.spawn(self.nap_when_told(), name="napper")

    async def on_nap(self, message: dict[str, Any]) -> None:
        nap(message["s"])

    async def nap_when_told(self) -> None:
        async for change in self.context.state.watch("nap"):
            nap(change.value)

    def get_routes(self) -> APIRouter | None:
        router = APIRouter()

        @router.get("/nap/{s}")
        async def nap_now(s: float) -> None:
            nap(s)

        return router


def nap(length_s: float) -> None:
    """Block the loop."""
    time.sleep(length_s)


class NeverHealthy(Quiet):
    def health_check(self) -> dict[str, Any]:
        return {"status": "warming up"}


class RaisesInShutdown(Quiet):
    async def shutdown(self) -> None:
        raise RuntimeError("cannot let go")


class HangsInShutdown(Quiet):
    async def shutdown(self) -> None:
        await asyncio.Event().wait()


class TaskCrashes(Quiet):
    """Its task crashes when told to through shared state."""

    async def startup(self) -> None:
        self.context.spawn(self.wait_for_the_word(), name="doomed")

    async def wait_for_the_word(self) -> None:
        async for change in self.context.state.watch("crash"):
            if change.value == "now":
                raise ValueError("the task fell over")
            if change.value == "exit":
                raise SystemExit(9)


class HealthFollowsState(Quiet):
    """Its health is whatever `health` in the shared state says."""

    async def health_check(self) -> dict[str, Any]:  # type: ignore[override]
        answer = await self.context.state.get("health", "ok")
        if answer == "raise":
            raise RuntimeError("health check fell over")
        if answer == "hang":
            await asyncio.Event().wait()
        return {"status": answer}


class AnswersWhatJsonCannotSay(Quiet):
    def health_check(self) -> dict[str, Any]:
        return {"status": "ok", "pool": object()}


class SlowToAnswer(Quiet):
    """Is asked for its health with more patience than a heartbeat has."""

    async def health_check(self) -> dict[str, Any]:  # type: ignore[override]
        if await self.context.state.get("slow"):
            await asyncio.sleep(60)
        return {"status": "ok"}


class HandlerRaises(Quiet):
    def __init__(self, context: ComponentContext) -> None:
        super().__init__(context)
        context.subscribe("pings", self.on_ping, max_deliveries=1)

    async def on_ping(self, message: dict[str, Any]) -> None:
        raise SystemExit(4) if message.get("exit") else RuntimeError("cannot handle that")


NUMBER = 42


def makes_a_number(context: ComponentContext) -> int:
    """Return something that is no component."""
    return NUMBER
