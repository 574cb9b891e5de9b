"""Puts a control plane together, whatever the mode: bus, leadership, supervisor, API; and runs it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from contracts.errors import BusError, LaunchError
from contracts.state import SharedState
from control_plane.brokers import StreamTransport, open_transport
from control_plane.core.memory import Memory, recalled, remembered
from control_plane.core.state import initial_state
from control_plane.hosting import Hosting
from control_plane.launch_options import LaunchReporter
from control_plane.launcher.blueprint import BUS_TIMEOUT_S, Blueprint, stop_bound_s
from control_plane.launcher.control_servers import Doors, serving
from control_plane.launcher.launch import Interrupted, Launch
from control_plane.launcher.leadership import Leadership
from control_plane.launcher.signals import heeding, hold_signals
from control_plane.launcher.succession import Legacy, Standing
from control_plane.runtime import clock
from control_plane.runtime.signal_guard import GuardedLoop
from control_plane.stores import LeaseTable, open_state
from control_plane.supervisor import Identity, Supervisor

BUS_PAUSE_S = 0.02
EPOCH_KEY = "ctl.epoch"
NODE = "local"
T = TypeVar("T")


@dataclass(frozen=True)
class Bus:
    """The streams and the shared state of one application."""

    transport: StreamTransport
    state: SharedState
    leases: LeaseTable


@dataclass(frozen=True)
class Prepared:
    """A launch that is ready to take charge."""

    supervisor: Supervisor
    launch: Launch
    leadership: Leadership
    doors: Doors


@contextlib.asynccontextmanager
async def open_bus(blueprint: Blueprint) -> AsyncIterator[Bus]:
    transport = await open_transport(blueprint.bus_url)
    try:
        await _until_answering(transport, blueprint)
        async with open_state(blueprint.settings.app.name, blueprint.bus_url) as state:
            yield Bus(transport, state, state.leases)
    finally:
        await transport.close()


async def _until_answering(transport: StreamTransport, blueprint: Blueprint) -> None:
    """Wait for the bus: an embedded Valkey starts at the same time as everything else."""
    deadline_s = clock.now_s() + BUS_TIMEOUT_S
    while True:
        try:
            await transport.ping()
            return
        except BusError as exc:
            if clock.now_s() < deadline_s:
                await asyncio.sleep(BUS_PAUSE_S)
            elif blueprint.embedded_bus:
                raise LaunchError(
                    f"the embedded Valkey did not answer within {BUS_TIMEOUT_S:g} s",
                    why=exc.what,
                    fix=f"see {blueprint.runtime.logs / 'valkey.log'}",
                    code="E2011",
                ) from exc
            else:
                raise


async def prepare(
    blueprint: Blueprint,
    reporter: LaunchReporter,
    bus: Bus,
    hosting: Hosting,
    gateway_url: str,
    standing: Standing,
    legacy: Legacy | None = None,
) -> Prepared:
    settings = blueprint.settings
    doors = standing.open_doors(settings.control.host, settings.control.port)
    leadership = Leadership(
        settings.app.name,
        bus.leases,
        bus.state,
        folder=blueprint.runtime.home,
        file=blueprint.runtime.leader,
    )
    await leadership.take()
    before = remembered(legacy.state) if legacy and legacy.state else Memory.from_json(hosting.recall())
    # A bus that was emptied counts from one again; what was left behind knows how far we were.
    epoch = max(await bus.state.increment(EPOCH_KEY), hosting.last_epoch + 1, before.epoch + 1)
    identity = Identity(settings, blueprint.mode, epoch, NODE, gateway_url, doors.url, clock.now_s())
    first = initial_state(settings, blueprint.mode, epoch=epoch)
    supervisor = Supervisor(
        identity,
        state=recalled(first, before),
        transport=bus.transport,
        hosting=hosting,
        leadership=leadership,
    )
    launch = Launch(
        supervisor,
        runtime=blueprint.runtime,
        options=blueprint.options,
        reporter=reporter,
        stop_bound_s=stop_bound_s(settings),
        again=legacy is not None and legacy.was_ready,
    )
    return Prepared(supervisor, launch, leadership, doors)


async def conduct(blueprint: Blueprint, prepared: Prepared) -> int:
    async with (
        serving(prepared.supervisor, blueprint.runtime, prepared.doors),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(prepared.supervisor.run())
        keeping = tasks.create_task(prepared.leadership.keep())
        try:
            return await prepared.launch.conduct()
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})
            await prepared.leadership.give_up()


def run_loop(work: Coroutine[Any, Any, T]) -> T:
    hold_signals()  # what comes before the loop runs is heeded by it
    with asyncio.Runner(loop_factory=GuardedLoop) as runner:
        return runner.run(_interruptible(work))


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Let signals cancel what the launch does not listen to by itself: what comes before it, and after."""
    task = asyncio.current_task()
    assert task is not None
    try:
        with heeding(lambda _: task.cancel()):
            return await work
    except asyncio.CancelledError:
        raise Interrupted("the launch was interrupted") from None
