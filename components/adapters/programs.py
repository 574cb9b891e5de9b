"""Hosts any program: a process and a process group of its own in every mode, with its console in the log.

Well means: its port accepts, or `health.path` answers 2xx, or `health.exec` exits with 0; ready, besides,
that it has printed the line of `health.log`. Exit code 0 is the end of the component, any other a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from typing import Any

import psutil
from fastapi import APIRouter

from components.adapters.console import Console
from components.adapters.upstreams import Upstream
from components.asking import accepts, answers_well
from contracts import AsgiApp, ComponentContext
from contracts.component import Receive, Scope, Send
from contracts.errors import ComponentError
from contracts.problems import nobody_answers, send_problem
from contracts.specs import LOCALHOST, PORT_PLACE, ComponentSpec

KILLED_TIMEOUT_S = 2.0
LOOK_S = 0.05


class ProgramAdapter:
    """Starts the program, asks how it is, passes requests on to its port, and ends it with all its group."""

    def __init__(self, context: ComponentContext, _target: Any, spec: ComponentSpec) -> None:
        self._context = context
        self._spec = spec
        self._port = _free_port() if spec.port == 0 else spec.port
        self._console: Console | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._ended = asyncio.Event()
        self._upstream = Upstream(context.name, f"tcp://{LOCALHOST}:{self._port}") if self._port else None

    async def startup(self) -> None:
        """Start the program; return when it has said that it is ready, where it is to say so.

        Raises:
            ComponentError: there is no such program, or it may not be run (E5015).
        """
        output = self._context.open_output()
        try:
            console = Console.open(output, pty=self._spec.pty, awaited=self._spec.health.log)
            try:
                self._process = await self._started(console.fd)
            except BaseException:
                console.abandon()
                raise
        finally:
            os.close(output)
        self._console = console
        console.begin()
        self._context.spawn(self._watch(self._process), name=self._spec.command[0])
        await console.said.wait()

    async def shutdown(self) -> None:
        """Ask the program to end, and wait until it has; whoever has no more time cancels its task."""
        self._stopping = True
        self._signal(signal.Signals[self._spec.stop_signal])
        await self._ended.wait()

    def get_routes(self) -> APIRouter | None:
        """Return nothing: the program answers for itself."""
        return None

    def get_asgi_app(self) -> AsgiApp:
        """Return what passes requests on to the program's port."""
        return self._upstream.answer if self._upstream else _answers_nothing

    async def health_check(self) -> dict[str, Any]:
        """Ask the program as the configuration says."""
        health = self._spec.health
        if health.exec:
            code = await self._exit_code(health.exec)
            return _status(code == 0, f"{health.exec[0]} exited with {code}")
        if self._upstream is None or self._port is None:
            return {"status": "ok"}
        if health.path:
            return {"status": await answers_well(self._upstream.answer, health.path)}
        return _status(await accepts(LOCALHOST, self._port), f"nobody listens on port {self._port} yet")

    async def _started(self, output: int) -> asyncio.subprocess.Process:
        command = [part.replace(PORT_PLACE, str(self._port)) for part in self._spec.command]
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._spec.cwd or None,
                env=self._environment(),
                start_new_session=True,
            )
        except OSError as exc:
            raise ComponentError(
                f"component '{self._context.name}': '{command[0]}' could not be started",
                why=exc.strerror or str(exc),
                fix="check `command` and `cwd`: it is no shell line, and paths in it are seen from `cwd`",
                code="E5015",
            ) from exc

    def _environment(self) -> dict[str, str]:
        port = {"PORT": str(self._port)} if self._port else {}
        return {**os.environ, "PYTHONUNBUFFERED": "1", **port, **self._context.environment}

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """Wait for its end; however that comes, cancelled too, nothing of its group is left."""
        try:
            code = await process.wait()
            if self._stopping:
                await self._group_ended(process.pid)
        except asyncio.CancelledError:
            if not self._stopping:  # it was still to get ready: it is asked to end all the same
                await self._end_early(process)
            raise
        finally:
            last = await self._clear(process)
        if self._stopping:
            return
        if code == 0:
            self._context.finish()
            return
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        raise ComponentError(
            f"component '{self._context.name}': {self._spec.command[0]} {how}", why=last, code="E5016"
        )

    async def _end_early(self, process: asyncio.subprocess.Process) -> None:
        self._stopping = True
        self._signal(signal.Signals[self._spec.stop_signal])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._spec.grace_period_s):
                await process.wait()
                await self._group_ended(process.pid)

    async def _group_ended(self, group: int) -> None:
        """Wait for what the program leaves behind: `sh` and the like end before their commands."""
        while any(_runs_in(group, process) for process in psutil.process_iter()):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_S)

    async def _clear(self, process: asyncio.subprocess.Process) -> str:
        """Kill what is left of the group, read what it has printed to the end, and return the last of it."""
        self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED_TIMEOUT_S):
                await process.wait()
        if self._upstream is not None:
            await self._upstream.close()
        self._ended.set()
        return self._console.close() if self._console else ""

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _exit_code(self, command: tuple[str, ...]) -> int:
        nowhere = asyncio.subprocess.DEVNULL
        asked = await asyncio.create_subprocess_exec(
            *(part.replace(PORT_PLACE, str(self._port)) for part in command),
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            cwd=self._spec.cwd or None,
            env=self._environment(),
        )
        try:
            return await asked.wait()
        finally:
            if asked.returncode is None:  # too slow, and given up
                asked.kill()


def _runs_in(group: int, process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    return False


async def _answers_nothing(scope: Scope, _receive: Receive, send: Send) -> None:
    await send_problem(scope, send, nobody_answers(scope["path"]))


def _status(well: bool, otherwise: str) -> dict[str, Any]:
    return {"status": "ok" if well else otherwise}


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        return int(probe.getsockname()[1])
