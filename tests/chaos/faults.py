"""Carries out faults: signals, an emptied bus, operators' requests.

Each is noted before it begins, so that nothing it causes comes before it. What an operator asks for is
asked again until it is granted: a control plane may be away just then, or the bus.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

import psutil
from redis.exceptions import RedisError

from tests.chaos.record import BUS, EVERYTHING, Injected
from tests.chaos.schedule import Fault, Kind
from tests.chaos.stage import Stage, replicas
from tests.support.anchored import gone
from tests.support.wait import eventually

GRANTED_WITHIN_S = 60.0
BACK_WITHIN_S = 30.0
VERBS = {Kind.RESTARTED: "restart", Kind.SCALED: "scale", Kind.MOVED: "move"}


class Saboteur:
    """Carries out one fault after another, or several at once."""

    def __init__(self, stage: Stage, *, now_s: Callable[[], float]) -> None:
        self._stage = stage
        self._now_s = now_s
        # One hand at a time on the pair of control plane and anchor: when both are gone, what operators
        # wanted is gone as well, and nothing can be held against the next launch.
        self._control = asyncio.Lock()
        self._commands: dict[str, asyncio.Lock] = {}
        self._last_status: Mapping[str, Any] = {"components": []}

    async def look(self) -> Mapping[str, Any]:
        """Return the present status, or the last one that there was."""
        self._last_status = await self._stage.status() or self._last_status
        return self._last_status

    async def carry_out(self, fault: Fault, injected: Injected) -> None:
        """Do it, and wait until it is over."""
        match fault.kind:
            case Kind.HOST_KILLED:
                await self._on_host(injected, signal.SIGKILL)
            case Kind.HOST_PAUSED:
                await self._on_host(injected, signal.SIGSTOP)
            case Kind.ANCHOR_KILLED | Kind.ANCHOR_PAUSED:
                await self._on_anchor(injected)
            case Kind.CONTROL_PLANE_KILLED:
                await self._replace_control_plane(injected)
            case Kind.CONTROL_PLANE_PAUSED:
                await self._pause_control_plane(injected)
            case Kind.BUS_KILLED | Kind.BUS_PAUSED:
                await self._on_bus(injected)
            case Kind.BUS_FLUSHED:
                await self._flush(injected)
            case Kind.RESTARTED | Kind.SCALED | Kind.MOVED:
                await self._ask(injected)

    # Processes.

    async def _on_host(self, injected: Injected, number: signal.Signals) -> None:
        found = replicas(await self.look())
        candidates = [r for r in found if r["id"].rpartition("-")[0] == injected.fault.component]
        if not candidates:
            injected.note = "there was none"
            return
        victim = candidates[int(injected.fault.chance * len(candidates))]
        together = {r["id"].rpartition("-")[0] for r in found if r["pid"] == victim["pid"]}
        injected.touched, injected.note = frozenset(together), f"{victim['id']}, process {victim['pid']}"
        if number is signal.SIGSTOP:
            await self._pause(injected, victim["pid"])
        else:
            await self._kill(injected, victim["pid"])

    async def _on_anchor(self, injected: Injected) -> None:
        async with self._control:
            # While another anchor's hosts come up there is none to be found.
            pid = await eventually(self._anchor_pid, BACK_WITHIN_S, every_s=0.05)
            injected.note = f"process {pid}"
            if injected.fault.kind is Kind.ANCHOR_PAUSED:
                await self._pause(injected, pid)
                return
            injected.touched = EVERYTHING
            await self._kill(injected, pid)
            injected.ended_s = self._now_s()
            await eventually(lambda: self._other_anchor(pid), BACK_WITHIN_S, every_s=0.05)

    async def _anchor_pid(self) -> int | None:
        return self._stage.anchor_pid(await self.look())

    async def _other_anchor(self, killed: int) -> bool:
        return await self._stage.ready() is not None and await self._anchor_pid() not in (None, killed)

    async def _replace_control_plane(self, injected: Injected) -> None:
        stage = self._stage
        async with self._control:
            injected.began_s, injected.note = self._now_s(), f"process {stage.launch_pid}"
            await stage.end_launch()
            await asyncio.sleep(injected.fault.lasts_s)
            stage.launch()
            await eventually(stage.status, BACK_WITHIN_S, every_s=0.05)

    async def _pause_control_plane(self, injected: Injected) -> None:
        async with self._control:
            await self._pause(injected, self._stage.launch_pid)

    async def _on_bus(self, injected: Injected) -> None:
        pid = self._stage.bus_pid()
        if pid is None:
            injected.note = "there was none"
            return
        injected.touched, injected.note = frozenset({BUS}), f"process {pid}"
        if injected.fault.kind is Kind.BUS_PAUSED:
            await self._pause(injected, pid)
        else:
            await self._kill(injected, pid)

    async def _flush(self, injected: Injected) -> None:
        injected.touched, injected.began_s = frozenset({BUS}), self._now_s()

        async def flushed() -> bool:
            with contextlib.suppress(RedisError, OSError):
                async with self._stage.bus() as client:
                    return bool(await client.execute_command("FLUSHALL"))
            return False

        await eventually(flushed, BACK_WITHIN_S, every_s=0.1)

    # Operators.

    async def _ask(self, injected: Injected) -> None:
        fault, wanted = injected.fault, self._stage.wanted
        async with self._commands.setdefault(fault.component, asyncio.Lock()):
            injected.began_s = self._now_s()
            body: dict[str, Any] = {}
            if fault.kind is Kind.SCALED:
                body["replicas"] = wanted.replicas[fault.component] = fault.replicas
            elif fault.kind is Kind.MOVED:
                body["to"] = wanted.places[fault.component] = fault.place

            async def granted() -> bool:
                refusal = await self._stage.command(fault.component, VERBS[fault.kind], body)
                injected.note = refusal or injected.note
                return not refusal

            await eventually(granted, GRANTED_WITHIN_S, every_s=0.2)

    # Signals.

    async def _pause(self, injected: Injected, pid: int) -> None:
        self._signal(injected, pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(injected.fault.lasts_s)
        finally:
            os_signal(self._stage, pid, signal.SIGCONT)

    async def _kill(self, injected: Injected, pid: int) -> None:
        self._signal(injected, pid, signal.SIGKILL)
        # On a loaded machine a killed process is there for a while: nothing is well again before it is gone.
        await eventually(lambda: gone(pid), BACK_WITHIN_S)

    def _signal(self, injected: Injected, pid: int, number: signal.Signals) -> None:
        injected.began_s = self._now_s()
        if not os_signal(self._stage, pid, number):
            injected.note += f"; gone before {number.name}"


def os_signal(stage: Stage, pid: int, number: signal.Signals) -> bool:
    """Send a signal, unless the process has ended and its number is somebody else's by now."""
    try:
        if stage.novel.is_ours(psutil.Process(pid)):
            os.kill(pid, number)
            return True
    except (psutil.NoSuchProcess, ProcessLookupError):
        pass
    return False
