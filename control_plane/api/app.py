"""The control plane's HTTP API: status, requests, events, logs, ledgers.

It holds no state and takes no decision: each route asks the `Controller`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from contracts.errors import ControlError, CoplaneError, did_you_mean
from contracts.messages import (
    AnyRequest,
    MoveRequest,
    RestartRequest,
    ScaleRequest,
    StartRequest,
    StopRequest,
)
from contracts.specs import Name
from contracts.status import AppStatus, ComponentStatus, StreamLedger
from control_plane.api.controller import Controller
from control_plane.api.problems import install
from control_plane.api.streaming import JSON_LINES, SERVER_SENT_EVENTS, StreamedAnswer, Write, json_line, sse
from control_plane.logs import LogReader, gently

# An entry of a stream, as `events` gives them: milliseconds, and a number within that.
ENTRY_ID = r"^\d{1,15}(-\d{1,19})?$"


class Wish(BaseModel):
    """The body of a request; with `wait_s`, the answer comes when what was asked for is so."""

    model_config = ConfigDict(extra="forbid")

    wait_s: float | None = Field(None, gt=0, le=3_600)


class ScaleWish(Wish):
    """The body of a scale request."""

    replicas: int = Field(ge=0, le=256)


class RestartWish(Wish):
    """The body of a restart request."""

    rolling: bool = True


class MoveWish(Wish):
    """The body of a move request; `to` is a group, or `isolated`."""

    to: Name


def create_app(controller: Controller, *, logs: Path) -> ASGIApp:
    """Return the API as an ASGI application, for callers that the socket has let in.

    Args:
        controller: the control plane.
        logs: the folder of the log files.
    """
    app = FastAPI(title="Coplane control plane", openapi_url="/openapi.json", redoc_url=None)
    install(app)
    app.include_router(_status_routes(controller))
    app.include_router(_request_routes(controller))
    app.include_router(_stream_routes(controller, logs))
    return app


# What is.


def _status_routes(controller: Controller) -> APIRouter:
    routes = APIRouter(tags=["status"])

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the control plane answers."""
        return {"status": "ok"}

    @routes.get("/readyz")
    async def readyz(response: Response) -> dict[str, bool]:
        """Tell whether every component is ready; 503 where not."""
        ready = controller.status().ready
        response.status_code = 200 if ready else 503
        return {"ready": ready}

    @routes.get("/v1/status")
    async def status() -> AppStatus:
        """Return the status of the whole application."""
        return controller.status()

    @routes.get("/v1/status/stream")
    async def status_stream() -> StreamedAnswer:
        """Stream the status: now, and after each change."""

        async def produce(write: Write) -> None:
            async for status in controller.changes():
                await write(sse("status", status.model_dump(mode="json")))

        return StreamedAnswer(SERVER_SENT_EVENTS, produce)

    @routes.get("/v1/components")
    async def components() -> tuple[ComponentStatus, ...]:
        """Return the status of every component."""
        return controller.status().components

    @routes.get("/v1/components/{name}")
    async def component(name: str) -> ComponentStatus:
        """Return the status of one component."""
        return _component(controller, name)

    @routes.get("/v1/streams")
    async def streams() -> list[StreamLedger]:
        """Return the ledger of each stream and consumer group."""
        return await controller.streams()

    return routes


def _component(controller: Controller, name: str) -> ComponentStatus:
    components = controller.status().components
    known = {alias: component for component in components for alias in component.aliases}
    known |= {component.name: component for component in components}
    if name not in known:
        raise ControlError(
            f"unknown component '{name}'", why=did_you_mean(name, known), fix='Run "ctl status"', code="E3002"
        )
    return known[name]


# What is wanted.


def _request_routes(controller: Controller) -> APIRouter:
    routes = APIRouter(tags=["requests"])

    async def ask(request: AnyRequest, wish: Wish | None) -> dict[str, Any]:
        named = request.model_copy(update={"component": _component(controller, request.component).name})
        return await controller.request(named, wait_s=wish.wait_s if wish else None)

    @routes.post("/v1/components/{name}/start")
    async def start(name: str, wish: Wish | None = None) -> dict[str, Any]:
        """Want the component running."""
        return await ask(StartRequest(component=name), wish)

    @routes.post("/v1/components/{name}/stop")
    async def stop(name: str, wish: Wish | None = None) -> dict[str, Any]:
        """Want the component stopped until somebody starts it."""
        return await ask(StopRequest(component=name), wish)

    @routes.post("/v1/components/{name}/restart")
    async def restart(name: str, wish: RestartWish | None = None) -> dict[str, Any]:
        """Replace every replica of the component by a new one: one by one, or all at once."""
        wish = wish or RestartWish()
        return await ask(RestartRequest(component=name, rolling=wish.rolling), wish)

    @routes.post("/v1/components/{name}/scale")
    async def scale(name: str, wish: ScaleWish) -> dict[str, Any]:
        """Want this number of replicas."""
        return await ask(ScaleRequest(component=name, replicas=wish.replicas), wish)

    @routes.post("/v1/components/{name}/move")
    async def move(name: str, wish: MoveWish) -> dict[str, Any]:
        """Have the replicas run in the host of a group, or each in a process of its own."""
        return await ask(MoveRequest(component=name, to=wish.to), wish)

    @routes.post("/v1/stop")
    async def stop_everything() -> StreamedAnswer:
        """Drain and stop everything: lines of progress, then one with the report or the error."""

        async def produce(write: Write) -> None:
            await _stop_everything(controller, write)

        return StreamedAnswer(JSON_LINES, produce)

    return routes


async def _stop_everything(controller: Controller, write: Write) -> None:
    async def tell_progress() -> None:
        async for status in controller.changes():
            await write(json_line("progress", status=status.model_dump(mode="json")))

    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(tell_progress())
        try:
            report = await controller.stop()
            last = json_line("stopped", report=report.model_dump(mode="json"))
        except CoplaneError as exc:
            last = json_line("error", error=exc.as_dict())
        telling.cancel()
    await write(last)


# What happens.


def _stream_routes(controller: Controller, logs: Path) -> APIRouter:
    routes = APIRouter(tags=["streams"])

    @routes.get("/v1/events")
    async def events(
        follow: bool = False,
        types: Annotated[list[str] | None, Query(alias="type")] = None,
        component: str | None = None,
        since: Annotated[str | None, Query(pattern=ENTRY_ID)] = None,
        last: Annotated[int | None, Query(ge=1, le=10_000)] = None,
        last_event_id: Annotated[str | None, Header(pattern=ENTRY_ID)] = None,
    ) -> StreamedAnswer:
        """Stream the entries of the event stream after `since`, or after Last-Event-ID; with `last`, only
        the newest so many of those asked for, and then no others."""
        where = _where(types, component)

        async def produce(write: Write) -> None:
            async for entry_id, fields in entries(last_event_id or since):
                if all(fields.get(name) in values for name, values in where.items()):
                    await write(sse(fields.get("type", ""), _event(entry_id, fields), event_id=entry_id))

        async def entries(after: str | None) -> AsyncIterator[tuple[str, dict[str, str]]]:
            if last is None:
                async for entry in controller.events(since=after, follow=follow):
                    yield entry
            else:
                for entry in await controller.newest_events(last, where=where, since=after):
                    yield entry

        return StreamedAnswer(SERVER_SENT_EVENTS, produce)

    @routes.get("/v1/logs")
    async def log_lines(
        follow: bool = False, component: Annotated[list[str] | None, Query()] = None
    ) -> StreamedAnswer:
        """Stream the lines of the logs, merged by time."""
        reader = LogReader(logs, names=component or ())

        async def produce(write: Write) -> None:
            lines = reader.follow(history=True) if follow else gently(reader.read())
            async with aclosing(lines):
                async for line in lines:
                    await write(sse("log", line.as_dict()))

        return StreamedAnswer(SERVER_SENT_EVENTS, produce)

    return routes


def _where(types: list[str] | None, component: str | None) -> dict[str, list[str]]:
    wanted = {"type": types or [], "component": [component] if component is not None else []}
    return {name: values for name, values in wanted.items() if values}


def _event(entry_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return an entry as JSON; what is in `data` is text of whoever wrote it, and may be anything."""
    try:
        data = json.loads(fields.get("data") or "{}")
    except ValueError:
        data = fields["data"]
    return {"id": entry_id, **fields, "data": data}
