"""A gateway on a real socket with real components behind it, in this process or behind sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from components.gateway import Gateway
from contracts.component import AsgiApp, ComponentContext, Endpoint
from control_plane.runtime.http_server import HttpServer
from control_plane.runtime.mounts import Guard, MountTable
from tests.support.fake_context import FakeContext, FakeDirectory

Where = Literal["local", "remote"]


@dataclass
class Stage:
    """What a test can reach."""

    url: str
    host: str
    port: int
    directory: FakeDirectory
    gateway: Gateway
    guards: dict[str, Guard]
    servers: dict[str, HttpServer]
    errors: list[tuple[str, BaseException]] = field(default_factory=list)


@contextlib.asynccontextmanager
async def gateway_before(
    apps: Mapping[str, AsgiApp], *, where: Where = "remote", config: Mapping[str, Any] | None = None
) -> AsyncIterator[Stage]:
    """Run a gateway before one replica for each `component/replica`, or component, in `apps`.

    The prefix is `/COMPONENT`.
    """
    directory = FakeDirectory()
    errors: list[tuple[str, BaseException]] = []
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-")))
        guards: dict[str, Guard] = {}
        servers: dict[str, HttpServer] = {}
        endpoints: list[Endpoint] = []
        for key, app in apps.items():
            component, _, replica = key.partition("/")
            replica = replica or f"{component}-1"
            guard = _guard(app, component, replica, errors)
            guards[replica] = guard
            mounted = MountTable({f"/{component}": guard})
            if where == "local":
                endpoints.append(Endpoint(component, replica, f"/{component}", True, app=mounted))
                continue
            path = folder / f"{replica}.sock"
            servers[replica] = await stack.enter_async_context(serving(mounted, unix_socket(path)))
            endpoints.append(Endpoint(component, replica, f"/{component}", True, f"unix://{path}"))
        directory.set(*endpoints)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        context = FakeContext(
            "gateway", config=Gateway.Config(**(config or {})), directory=directory, tasks=tasks
        )
        stack.callback(context.close)
        gateway = Gateway(cast("ComponentContext", context))
        await gateway.startup()
        stack.push_async_callback(gateway.shutdown)
        listener = tcp_socket()
        host, port = listener.getsockname()[:2]
        front = _guard(gateway.get_asgi_app(), "gateway", "gateway-1", errors)
        await stack.enter_async_context(serving(front, listener, trusted_proxy=False))
        yield Stage(
            f"http://{host}:{port}",
            host,
            port,
            directory,
            gateway,
            {**guards, "gateway-1": front},
            servers,
            errors,
        )


@contextlib.asynccontextmanager
async def serving(
    app: AsgiApp, sock: socket.socket, *, trusted_proxy: bool = True
) -> AsyncIterator[HttpServer]:
    """Serve an application on a bound socket."""
    server = HttpServer(app, sock=sock, trusted_proxy=trusted_proxy)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace_s=0.2)


def unix_socket(path: Path) -> socket.socket:
    """Return a listening Unix socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(128)
    return sock


def tcp_socket() -> socket.socket:
    """Return a listening TCP socket on a free port."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


def _guard(app: AsgiApp, component: str, replica: str, errors: list[tuple[str, BaseException]]) -> Guard:
    def record(name: str, exc: BaseException) -> None:
        errors.append((name, exc))

    return Guard(app, component=component, replica=replica, on_error=record)


async def exchange(stage: Stage, request: bytes, *, timeout_s: float = 10.0) -> bytes:
    """Send raw bytes to the gateway and return every byte of the answer until it closes."""
    reader, writer = await asyncio.open_connection(stage.host, stage.port)
    try:
        writer.write(request)
        async with asyncio.timeout(timeout_s):
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
