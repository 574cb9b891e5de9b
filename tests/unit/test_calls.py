"""A call to another component has the same answer in this process and over a socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from contracts.component import AsgiApp, Endpoint
from contracts.errors import ComponentError
from control_plane.runtime.calls import Caller
from control_plane.runtime.directory import EventDirectory
from control_plane.runtime.http_server import HttpServer
from control_plane.runtime.mounts import refusing

pytestmark = pytest.mark.anyio


class OneEndpoint:
    """A directory that has caught up, and knows one replica."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def caught_up(self) -> None: ...

    def endpoints(self) -> list[Endpoint]:
        return [self._endpoint]


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/w/old")
    async def old() -> Response:
        return RedirectResponse("/w/cookies")

    @app.get("/w/headers")
    async def headers(request: Request) -> dict[str, str | None]:
        return {"port": request.headers.get("x-forwarded-port"), "host": request.headers.get("host")}

    @app.get("/w/cookies")
    async def cookies(request: Request) -> Response:
        answer = Response(str(len(request.cookies)))
        answer.set_cookie("seen", "yes")
        return answer

    return app


@asynccontextmanager
async def calling(folder: Path, *, remote: bool) -> AsyncIterator[Caller]:
    """Give a caller of the application, here or over a Unix socket."""
    listener, path = socket.socket(socket.AF_UNIX), folder / "w.sock"
    listener.bind(str(path))
    app = cast("AsgiApp", application())
    server = HttpServer(app, sock=listener)
    await server.start()
    where: dict[str, Any] = {"address": f"unix://{path}"} if remote else {"app": app}
    caller = Caller(cast("EventDirectory", OneEndpoint(Endpoint("w", "w-1", "/w", ready=True, **where))))
    yield caller
    await caller.close()
    await server.stop(grace_s=1.0)


@pytest.mark.parametrize("remote", [False, True])
async def test_a_redirect_is_for_the_caller_to_follow(tmp_path: Path, remote: bool) -> None:
    async with calling(tmp_path, remote=remote) as caller:
        answer = await caller.call("w", "GET", "/old", timeout_s=5)

        assert (answer.status, answer.headers["Location"]) == (307, "/w/cookies")


@pytest.mark.parametrize("remote", [False, True])
async def test_no_header_of_the_caller_leads_elsewhere(tmp_path: Path, remote: bool) -> None:
    """A component that hands on the headers of its own request must not be sent to another one."""
    async with calling(tmp_path, remote=remote) as caller:
        headers = {"X-Forwarded-Port": "8001", "host": "asked.example:8001"}
        answer = await caller.call("w", "GET", "/headers", headers=headers, timeout_s=5)

        assert answer.json() == {"port": None, "host": "asked.example:8001"}


@pytest.mark.parametrize("remote", [False, True])
async def test_no_cookie_is_kept_between_calls(tmp_path: Path, remote: bool) -> None:
    async with calling(tmp_path, remote=remote) as caller:
        bodies = [(await caller.call("w", "GET", "/cookies", timeout_s=5)).body for _ in range(2)]

        assert bodies == [b"0", b"0"]


class Endpoints(OneEndpoint):
    """A directory that knows several replicas."""

    def __init__(self, *endpoints: Endpoint) -> None:
        self._all = list(endpoints)

    def endpoints(self) -> list[Endpoint]:
        return self._all


async def test_a_replica_that_refuses_is_passed_over() -> None:
    """It drains; the directory may hear of it a moment later."""
    leaving = Endpoint("w", "w-1", "/w", ready=True, app=refusing("w", "w-1"))
    staying = Endpoint("w", "w-2", "/w", ready=True, app=cast("AsgiApp", application()))
    caller = Caller(cast("EventDirectory", Endpoints(leaving, staying)))
    for _ in range(4):
        assert (await caller.call("w", "GET", "/cookies", timeout_s=5)).status == 200

    alone = Caller(cast("EventDirectory", Endpoints(leaving)))
    with pytest.raises(ComponentError, match="no replica of component 'w' is ready"):
        await alone.call("w", "GET", "/cookies", timeout_s=5)
