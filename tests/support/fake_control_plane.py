"""A control plane whose status, answers and events a test sets; served by the real API.

As a process of its own (`python -m tests.support.fake_control_plane SOCKET LOGS`) it ends after a stop.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from contracts.errors import CoplaneError
from contracts.messages import AnyRequest
from contracts.status import AppStatus, StopReport, StreamLedger
from control_plane.api.app import create_app
from tests.support.wait import eventually


def status(
    *, ready: bool = True, state: str = "", host: str = "127.0.0.1", reason: str | None = None
) -> AppStatus:
    """Return the status of a backend of one component."""
    replica = {
        "id": "writer-1",
        "state": state or ("ready" if ready else "starting"),
        "host": "h-1",
        "node": "local",
        "pid": 7,
        "endpoint": None,
        "restarts": 0,
        "uptime_s": 1.0,
        "rss_bytes": 1,
        "cpu_percent": 0.0,
        "health": None,
        "reason": reason,
    }
    component = {
        "name": "writer",
        "desired": "running",
        "state": replica["state"],
        "prefix": "/agents/writer",
        "depends_on": [],
        "replicas": [replica],
    }
    return AppStatus.model_validate(
        {
            "app": "novel",
            "mode": "single",
            "ready": ready,
            "control_plane": {"pid": os.getpid(), "epoch": 1, "uptime_s": 1.0, "url": f"http://{host}:8900"},
            "gateway": {"url": "http://127.0.0.1:8000"},
            "bus": {"kind": "memory", "url": "memory://", "connected": True},
            "components": [component],
        }
    )


LEDGER = StreamLedger(
    stream="chapters", group="writer", accepted=3, acknowledged=1, left=1, dead=1, adds_up=True
)
REPORT = StopReport(streams=(LEDGER,), ok=True, stopped=("writer-1",))


class FakeController:
    """A control plane whose status, answers and events a test sets."""

    def __init__(self) -> None:
        self.current = status()
        self.changed = asyncio.Event()
        self.requests: list[tuple[AnyRequest, float | None]] = []
        self.failure: CoplaneError | None = None
        self.entries = [
            ("1-0", {"type": "host.heartbeat", "component": "", "data": '{"pid": 7}'}),
            ("2-0", {"type": "component.transitioned", "component": "writer", "data": "no json"}),
        ]
        self.followers = 0
        self.drained = asyncio.Event()
        self.stopped = asyncio.Event()
        self.report = REPORT

    def change(self, now: AppStatus) -> None:
        self.current = now
        self.changed.set()
        self.changed = asyncio.Event()

    def status(self) -> AppStatus:
        return self.current

    async def changes(self) -> AsyncIterator[AppStatus]:
        self.followers += 1
        try:
            while True:
                changed = self.changed
                yield self.current
                await changed.wait()
        finally:
            self.followers -= 1

    async def request(self, request: AnyRequest, *, wait_s: float | None = None) -> dict[str, Any]:
        self.requests.append((request, wait_s))
        if self.failure:
            raise self.failure
        return {"request_id": "r-1", "accepted": True, "component": request.component}

    async def stop(self) -> StopReport:
        self.change(status(ready=False, reason="stop asked"))
        await self.drained.wait()
        if self.failure:
            raise self.failure
        self.stopped.set()
        return self.report

    async def events(
        self, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[tuple[str, dict[str, str]]]:
        for entry_id, fields in self.entries:
            if entry_id > (since or ""):
                yield entry_id, fields
        if self.failure:
            raise self.failure
        if follow:
            await asyncio.Event().wait()

    async def newest_events(
        self, count: int, *, where: Mapping[str, Collection[str]], since: str | None = None
    ) -> list[tuple[str, dict[str, str]]]:
        entries = [entry async for entry in self.events(since=since)]
        right = [e for e in entries if all(e[1].get(name) in values for name, values in where.items())]
        return right[-count:]

    async def streams(self) -> list[StreamLedger]:
        return [LEDGER]


@asynccontextmanager
async def serving(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server._serve([listener]))
        await eventually(lambda: server.started)
        yield
        server.should_exit = True


async def serve_until_stopped(path: Path, logs: Path) -> None:
    """Serve on a Unix socket until somebody asked for a stop and was answered.

    CTL_TEST_LOSSY asks for ledgers that do not add up, CTL_TEST_UNREADY for a component that is not
    ready, CTL_TEST_ENDLESS for a stop that never ends.
    """
    controller = FakeController()
    controller.current = status(ready="CTL_TEST_UNREADY" not in os.environ)
    if "CTL_TEST_LOSSY" in os.environ:
        lossy = LEDGER.model_copy(update={"acknowledged": 0, "adds_up": False})
        controller.report = REPORT.model_copy(update={"ok": False, "streams": (lossy,)})
    if "CTL_TEST_ENDLESS" not in os.environ:
        controller.drained.set()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        async with serving(create_app(controller, logs=logs), listener):
            await controller.stopped.wait()
    path.unlink()


if __name__ == "__main__":
    asyncio.run(serve_until_stopped(Path(sys.argv[1]), Path(sys.argv[2])))
