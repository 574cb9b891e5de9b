"""What a team has already: code of many shapes, none of which knows of components."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request
from faststream import Context, FastStream
from faststream.redis import RedisBroker

from contracts import ComponentContext

HAPPENED: list[str] = []


# Applications.


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    HAPPENED.append("shop opened")
    yield {"stock": 7}
    HAPPENED.append("shop closed")


shop = FastAPI(lifespan=_lifespan)


@shop.get("/stock")
async def stock(request: Request) -> dict[str, Any]:
    return {"stock": request.state.stock, "root": request.scope["root_path"], "path": request.url.path}


@shop.get("/healthz")
async def healthz() -> dict[str, str]:
    if "ill" in HAPPENED:
        raise HTTPException(503)
    return {"status": "fine"}


def create_shop(title: str = "shop") -> FastAPI:
    """Make an application, as an application factory does."""
    app = FastAPI(title=title)

    @app.get("/title")
    async def tell() -> dict[str, str]:
        return {"title": app.title}

    return app


def pages(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer as a WSGI application."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [
        b'{"script": "%s", "path": "%s"}' % (environ["SCRIPT_NAME"].encode(), environ["PATH_INFO"].encode())
    ]


# Objects.


class Connects:
    """Its start returns once it has started."""

    def __init__(self, tone: str = "plain") -> None:
        asyncio.get_event_loop()
        self.tone = tone

    async def start(self) -> None:
        HAPPENED.append(f"connected {self.tone}")

    async def stop(self) -> None:
        HAPPENED.append("disconnected")


class Consumes:
    """Its start goes on until it is stopped; it says when it is ready."""

    def __init__(self) -> None:
        self.running = False
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        await asyncio.sleep(0.05)
        self.running = True
        await self._stopped.wait()
        HAPPENED.append("consumed to the end")

    async def shutdown(self) -> None:
        self._stopped.set()


class Listens:
    """It is ready when it listens, and says so to nobody."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stopped = asyncio.Event()

    async def start(self) -> None:
        while "listen" not in HAPPENED:  # noqa: ASYNC110 - a list tells nobody that it changes
            await asyncio.sleep(0.01)
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", self._port)
        async with server:
            await self._stopped.wait()

    async def stop(self) -> None:
        self._stopped.set()


class Blocks:
    """It is not asynchronous, and is started and stopped by other names."""

    def __init__(self) -> None:
        self.up = threading.Event()
        self._stopped = threading.Event()

    def run_forever(self) -> None:
        time.sleep(0.05)
        self.up.set()
        self._stopped.wait()
        HAPPENED.append("blocked to the end")

    def close(self) -> None:
        self._stopped.set()


class Leaves:
    """Its life is over before anybody stops it."""

    async def run(self) -> None:
        HAPPENED.append("left")


class Breaks:
    """It crashes after a while."""

    async def start(self) -> None:
        await asyncio.sleep(0.7)
        raise SystemExit("the queue is away")

    async def stop(self) -> None:
        HAPPENED.append("stopped though broken")


class CancelsItself:
    """Its stop cancels what its start waits for."""

    async def start(self) -> None:
        self._work = asyncio.ensure_future(asyncio.Event().wait())
        await self._work

    def stop(self) -> None:
        self._work.cancel()
        HAPPENED.append("cancelled")


class IsCancelled:
    """What its start waits for is cancelled by nobody's wish."""

    async def start(self) -> None:
        work = asyncio.ensure_future(asyncio.Event().wait())
        asyncio.get_running_loop().call_later(0.6, work.cancel)
        await work


def _decorated(method: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapper(*args: Any) -> Any:
        return await method(*args)

    return wrapper


class Decorated:
    """Its start has another name of its own."""

    @_decorated
    async def start(self) -> None:
        HAPPENED.append("started")

    def stop(self) -> None:
        asyncio.get_running_loop()
        HAPPENED.append("stopped in the loop")


async def copies(source: str, target: str, limit: int) -> None:
    """Take three arguments, and be no application."""
    HAPPENED.append(f"copied {limit} from {source} to {target}")


class Raises:
    """Its start fails, and its stop would wait for ever."""

    async def start(self) -> None:
        raise ConnectionError("the queue is away")

    async def stop(self) -> None:
        HAPPENED.append("stopping")
        await asyncio.Event().wait()


class NeverReturns:
    """It does not end when it is told to."""

    def start(self) -> None:
        threading.Event().wait()

    def stop(self) -> None:
        HAPPENED.append("deaf")


# Functions.


async def works() -> None:
    HAPPENED.append("worked")


async def works_on(context: ComponentContext, items: int = 1) -> None:
    HAPPENED.append(f"{context.replica_id} works on {items}")
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("no such item")


# A launcher.


class Agent:
    def __init__(self, name: str) -> None:
        self.name = name

    async def start(self) -> None:
        HAPPENED.append(f"{self.name} started")
        if self.name == "critic":
            raise RuntimeError("the critic is unhappy")
        await asyncio.Event().wait()

    async def stop(self) -> None:
        HAPPENED.append(f"{self.name} stopped")


class AgentLauncher:
    """Loads agents by name, and starts all that it has loaded."""

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}

    def load_agents(self, names: Iterable[str]) -> None:
        self.agents.update({name: Agent(name) for name in names if name in ("writer", "critic")})

    async def start_all(self) -> None:
        await asyncio.gather(*(agent.start() for agent in self.agents.values()))

    async def stop_all(self) -> None:
        await asyncio.gather(*(agent.stop() for agent in self.agents.values()))


# FastStream.


def make_adopted(stop: str = "tea") -> FastStream:
    """Make an application whose broker reaches nobody: its streams are to be ours."""
    broker = RedisBroker("redis://127.0.0.1:1", logger=None)
    stream = FastStream(broker)
    told = broker.publisher(stream="cups")

    @stream.on_startup
    async def prepares() -> None:
        stream.context.set_global("prefix", "served")

    @broker.subscriber(stream="orders")
    @broker.publisher(stream="bills")
    async def ordered(item: str, prefix: str = Context()) -> str:
        await told.publish(f"{prefix} {item}")
        return f"one {item}"

    @broker.subscriber(stream="cups")
    async def cup(text: str) -> None:
        HAPPENED.append(text)

    @broker.subscriber(stream="bills")
    async def bill(text: str) -> None:
        HAPPENED.append(text)

    @stream.after_startup
    async def starts() -> None:
        @broker.subscriber(stream="late")
        async def late(text: str) -> None:
            HAPPENED.append(text)

        await broker.connect()
        await broker.publish(stop, stream="orders")
        await broker.publish("came late", stream="late")

    return stream


def make_stream(url: str) -> FastStream:
    """Make an application with a broker of its own."""
    broker = RedisBroker(url, logger=None)
    stream = FastStream(broker)

    @broker.subscriber("orders")
    async def ordered(item: str) -> None:
        HAPPENED.append(f"ordered {item}")

    @stream.after_startup
    async def starts() -> None:
        HAPPENED.append("stream started")
        await broker.publish("tea", "orders")

    @stream.on_shutdown
    async def stops() -> None:
        HAPPENED.append("stream stopped")

    return stream


class AsksTheShop:
    """A component of ours that calls one at a host of its own."""

    def __init__(self, context: ComponentContext) -> None:
        self._context = context

    async def startup(self) -> None: ...

    async def shutdown(self) -> None: ...

    def health_check(self) -> dict[str, Any]:
        return {"status": "ok"}

    def get_routes(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/stock", self.stock)
        return router

    async def stock(self) -> Any:
        answer = await self._context.call("shop", "GET", "/stock", headers={"Host": "elsewhere"})
        return answer.json()


class Odd:
    """It is nothing that could be hosted."""


# Code that ends the process.


class Exits:
    """It ends the process it is in, from a task or from a thread of its own."""

    def __init__(self, where: str) -> None:
        self._where = where

    async def start(self) -> None:
        if self._where == "pool":
            await asyncio.get_running_loop().run_in_executor(None, os._exit, 7)
        if self._where == "thread":
            threading.Thread(target=os._exit, args=(7,)).start()
            await asyncio.Event().wait()
        await asyncio.create_task(self._exit())

    async def stop(self) -> None: ...

    async def _exit(self) -> None:
        _let_a_child_exit()
        os._exit(7)


def _let_a_child_exit() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
