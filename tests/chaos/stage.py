"""The backend that chaos is made in: how to ask it, find its processes, and tell whether all is well."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import redis.asyncio
from redis.exceptions import RedisError

from control_plane.connections import connect
from tests.e2e.test_faults import AGENTS
from tests.support.anchored import anchor_above, gone
from tests.support.backend import DEMO, REPOSITORY, Backend
from tests.support.wait import eventually

COMPONENTS = ("gateway", "echo", *AGENTS)
PLACES = ("planning", "writing")
STATUS_TIMEOUT_S = 2.0
COMMAND_TIMEOUT_S = 60.0
# Restarts that are counted by the hundred are no crash loop here; and hung hosts are noticed in 3 s.
PATIENT = {
    f"CTL_COMPONENTS__{name.upper()}__{option}": value
    for name in COMPONENTS
    for option, value in (
        ("RESTART__MAX_RESTARTS", "1000"),
        ("RESTART__BACKOFF_S", "0.1"),
        ("RESTART__BACKOFF_MAX_S", "0.5"),
        ("HEALTH__INTERVAL_S", "1"),
    )
}
ECHO = '\n[components.echo]\nuse = "tests.support.echo:Echo"\ngroup = "writing"\n'


def write_config(folder: Path, adapt: Callable[[str], str]) -> Path:
    """Write the demo's configuration with `Echo` beside the agents, for WebSockets and endless streams."""
    path = folder / "ctl.toml"
    path.write_text(adapt(DEMO.read_text().replace("\n[profiles.", f"{ECHO}\n[profiles.", 1)))
    return path


@dataclass
class Wanted:
    """What operators asked for: how many replicas, and where. Empty: as configured."""

    replicas: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


class Stage:
    """A backend in multi mode, over its sockets: no `ctl` is spawned to ask it something."""

    def __init__(self, folder: Path, *, adapt: Callable[[str], str] = str) -> None:
        self.novel = Backend(write_config(folder, adapt), env={**PATIENT, "PYTHONPATH": str(REPOSITORY)})
        self.wanted = Wanted()
        self.url = ""
        self._bus_url = f"unix://{self.novel.home}/bus.sock"
        self.in_charge = False
        self._launches = 0
        self._control: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Stage]:
        """Launch, and wait until ready; afterwards nothing is left, whatever happened."""
        connector = aiohttp.UnixConnector(str(self.novel.home / "control.sock"), force_close=True)
        try:
            async with aiohttp.ClientSession("http://control", connector=connector) as self._control:
                self.launch()
                status = await eventually(self.ready, 60, every_s=0.1)
                self.url = status["gateway"]["url"]
                # The public port was free to choose; a launch after a killed anchor must not choose again.
                self.novel.env["CTL_GATEWAY__PORT"] = self.url.rpartition(":")[2]
                yield self
        finally:
            await asyncio.to_thread(self.novel.destroy)

    # The launch.

    def launch(self) -> None:
        """Run `ctl launch`, keeping what the one before has printed."""
        for name in ("stdout.txt", "stderr.txt"):
            printed = self.novel.home / name
            if printed.exists():
                shutil.move(printed, self.novel.home / f"launch-{self._launches}.{name}")
        self._launches += 1
        self.novel.start("--mode", "multi")
        self.in_charge = True

    @property
    def launch_pid(self) -> int:
        """The process id of `ctl launch`, which holds the control plane."""
        assert self.novel.launch is not None
        return self.novel.launch.pid

    async def end_launch(self) -> None:
        """Kill `ctl launch` as a crash would."""
        assert self.novel.launch is not None
        self.in_charge = False
        self.novel.launch.kill()
        await asyncio.to_thread(self.novel.launch.wait)

    @property
    def deserted(self) -> str:
        """How the launch ended, if it did so by itself."""
        assert self.novel.launch is not None
        code = self.novel.launch.poll()
        return "" if code is None or not self.in_charge else f"exit code {code}: {self.novel.output[-1000:]}"

    # Asking.

    async def status(self) -> dict[str, Any] | None:
        """Return the status, or None while nobody answers."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S), self._control.get("/v1/status") as answer:
                status: dict[str, Any] | None = await answer.json() if answer.status == 200 else None
                return status
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def ready(self) -> dict[str, Any] | None:
        """Return the status if the backend is ready."""
        status = await self.status()
        return status if status and status["ready"] else None

    async def command(self, component: str, verb: str, body: Mapping[str, Any]) -> str:
        """Ask for something and wait until it is so; return what went wrong, or nothing."""
        wish = {**body, "wait_s": COMMAND_TIMEOUT_S}
        try:
            async with (
                asyncio.timeout(COMMAND_TIMEOUT_S + 5),
                self._control.post(f"/v1/components/{component}/{verb}", json=wish) as answer,
            ):
                return "" if answer.status < 400 else (await answer.text())[:300]
        except (aiohttp.ClientError, OSError, TimeoutError) as exc:
            return repr(exc)

    async def ledgers(self) -> list[dict[str, Any]]:
        """Return the ledger of each stream and group."""
        async with self._control.get("/v1/streams") as answer:
            ledgers: list[dict[str, Any]] = await answer.json()
            return ledgers

    @contextlib.asynccontextmanager
    async def bus(self) -> AsyncIterator[redis.asyncio.Redis]:
        """Give a client of the bus: one of ours, for redis-py's own timeouts swallow cancellations."""
        async with connect(self._bus_url) as client:
            yield client

    async def bus_answers(self) -> bool:
        """Tell whether Valkey takes commands."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S), self.bus() as client:
                return bool(await client.execute_command("PING"))
        except (RedisError, OSError, TimeoutError):
            return False

    # Processes.

    def anchor_pid(self, status: Mapping[str, Any]) -> int | None:
        """Return the anchor: the parent that all hosts have in common, unless they were orphaned."""
        pid = anchor_above(replica["pid"] for replica in replicas(status))
        return pid if pid not in (None, 1, os.getpid(), self.launch_pid) else None

    def bus_pid(self) -> int | None:
        """Return Valkey's process, if there is one."""
        home = f"{self.novel.home}/"
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if "valkey" in process.name() and home in " ".join(process.cmdline()):
                    return process.pid
        return None

    # All is well.

    async def unsettled(self) -> str:
        """Return why the state has not converged, or nothing if it has."""
        status = await self.status()
        if status is None:
            return "no control plane answers"
        return self._unlike_wanted(status) or ("" if await self.bus_answers() else "the bus does not answer")

    def _unlike_wanted(self, status: Mapping[str, Any]) -> str:
        if not status["bus"]["connected"]:
            return "bus: disconnected"
        for component in status["components"]:
            name, states = component["name"], {r["id"]: r["state"] for r in component["replicas"]}
            if len(states) != self.wanted.replicas.get(name, 1) or set(states.values()) != {"ready"}:
                return f"{name}: wanted {self.wanted.replicas.get(name, 1)}, observed {states}"
        dead = [r["id"] for r in replicas(status) if r["pid"] is None or gone(r["pid"])]
        if dead:
            return f"no process of {dead}"
        if not status["ready"]:
            return "not ready"
        if self.anchor_pid(status) is None:
            return "hosts without an anchor"
        return self._misplaced(status)

    def _misplaced(self, status: Mapping[str, Any]) -> str:
        """Return which process has other replicas than it should."""
        observed: dict[int, set[str]] = {}
        expected: dict[str, set[str]] = {}
        for component in status["components"]:
            place = self.wanted.places.get(component["name"], "isolated")
            for replica in component["replicas"]:
                observed.setdefault(replica["pid"], set()).add(replica["id"])
                key = replica["id"] if place == "isolated" else f"group {place}"
                expected.setdefault(key, set()).add(replica["id"])
        wrong = [together for together in observed.values() if together not in expected.values()]
        return f"in one process: {wrong}" if wrong else ""


def replicas(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the replicas that have a process."""
    return [r for c in status["components"] for r in c["replicas"] if r["pid"] is not None]
