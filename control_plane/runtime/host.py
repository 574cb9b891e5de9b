"""A host: one process with one event loop that holds replicas and obeys the control plane.

It listens on a socket of its own, sends heartbeats and transitions, and carries out commands. It
takes no decision about restarts: it reports, and does what it is told. Only when it is told to end
(SIGTERM, the anchor's death) does it stop its replicas by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from contracts.component import AsgiApp
from contracts.errors import ControlError
from contracts.messages import (
    Command,
    ComponentRegistered,
    ComponentTransitioned,
    HostHeartbeat,
    HostStopping,
    ReportHost,
    StartReplica,
    StopReplica,
)
from contracts.specs import GATEWAY, HostSpec, Mode, ReplicaSpec
from contracts.state import SharedState
from contracts.status import ReplicaReport, ReplicaState
from control_plane.brokers import BusBroker, StreamTransport
from control_plane.runtime import clock, host_logging
from control_plane.runtime.announcer import Announcer
from control_plane.runtime.calls import Caller
from control_plane.runtime.commands import Commands
from control_plane.runtime.context import HostServices
from control_plane.runtime.directory import EventDirectory
from control_plane.runtime.exit_guard import ExitGuard
from control_plane.runtime.host_server import HostServer
from control_plane.runtime.loop_blocks import watch_loop
from control_plane.runtime.losses import LOSSES
from control_plane.runtime.mounts import Mount, refusing
from control_plane.runtime.replica import SERVING, Replica, Surroundings
from control_plane.runtime.unreaped import Unreaped
from control_plane.runtime.usage import Usage
from control_plane.runtime.workers import WorkerPool

log = logging.getLogger("coplane.host")

FLUSH_TIMEOUT_S = 1.0
ANNOUNCE_TIMEOUT_S = 0.25
# How long an idle client of a draining gateway keeps its connection: most ask again sooner, and are told.
PUBLIC_LINGER_S = 1.0


class Host:
    """Holds the replicas of a `HostSpec` from boot to the end."""

    def __init__(
        self,
        spec: HostSpec,
        *,
        transport: StreamTransport,
        state: SharedState,
        public_sockets: Sequence[socket.socket] = (),
    ) -> None:
        self.spec = spec
        self._transport = transport
        self._usage = Usage()
        self._unreaped = Unreaped()
        self._announcer = Announcer(transport, app=spec.app, node=spec.node, utc_now=clock.utc_now)
        self._commands = Commands(
            transport,
            self._announcer,
            app=spec.app,
            host=spec.id,
            carry_out=self._carry_out,
            run=self._run,
        )
        self._directory = EventDirectory(
            transport, app=spec.app, local_host=spec.id, now_s=clock.now_s, run=self._run
        )
        self._workers = WorkerPool()
        self._services = HostServices(
            state, self._directory, Caller(self._directory), self._workers, logs=Path(spec.home) / "logs"
        )
        self._server = HostServer(spec.listen, public_sockets=public_sockets, reports=self._reports)
        self._around = Surroundings(
            self._services, self._make_broker, self._run, self._replica_changed, self._withdraw
        )
        self.replicas: dict[str, Replica] = {}
        self._watchdog = watch_loop(spec, replicas=self._specs, announce=self._announcer.announce)
        self._locks: dict[str, asyncio.Lock] = {}
        for replica in spec.replicas:
            self._add_replica(replica)
        self._tasks: asyncio.TaskGroup | None = None
        self._pulse_now = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._stop_reason = ""

    # Life.

    async def run(self) -> None:
        """Hold the replicas until `stop` is called and everything is drained."""
        loop = asyncio.get_running_loop()

        def exited(replica: str, status: int) -> None:
            loop.call_soon_threadsafe(self._crash, replica, f"it called os._exit({status})")

        with ExitGuard(exited) if self._is_shared else contextlib.nullcontext():
            await self._live()

    @property
    def _is_shared(self) -> bool:
        several = len({replica.component.name for replica in self.spec.replicas}) > 1
        return several or self.spec.mode is Mode.SINGLE

    def _crash(self, replica: str, why: str) -> None:
        if replica in self.replicas:
            self.replicas[replica].crash(why)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            background = [tasks.create_task(self._announcer.run())]
            await self._server.start()
            await self._commands.take_position(
                (replica.component for replica in self.replicas.values()),
                wanted=lambda: not self._stop_asked.is_set(),
            )
            for replica in self.replicas.values():
                replica.load()
            background += [
                tasks.create_task(self._pulse()),
                tasks.create_task(self._watch_health()),
                tasks.create_task(self._commands.obey()),
            ]
            self._watchdog.start()  # after the imports: nobody needs the loop during those
            if self.spec.autostart:
                background += [self._run(self._start(replica)) for replica in self.replicas.values()]
            try:
                await self._stop_asked.wait()
                await self._stop_replicas()
            finally:
                await self._close(background)

    def stop(self, reason: str) -> None:
        """Begin to stop: drain every replica, then end. A second call changes nothing."""
        if not self._stop_asked.is_set():
            self._stop_reason = reason
            self._stop_asked.set()

    async def _stop_replicas(self) -> None:
        log.info("host.stopping", extra={"host": self.spec.id, "reason": self._stop_reason})
        self._announcer.announce(HostStopping(host=self.spec.id, pid=os.getpid(), reason=self._stop_reason))
        await asyncio.gather(*(self._stop_replica(replica) for replica in self.replicas.values()))

    async def _stop_replica(self, replica: Replica) -> None:
        await replica.stop(grace_period_s=replica.spec.component.grace_period_s)

    async def _close(self, background: list[asyncio.Task[None]]) -> None:
        self._watchdog.stop()
        await self._announcer.flush(timeout_s=FLUSH_TIMEOUT_S)
        await self._server.stop()
        await self._services.caller.close()
        self._workers.close()
        for task in background:
            task.cancel()
        self._directory.stop()

    def _run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        assert self._tasks is not None, "a host starts work only while it runs"
        return self._tasks.create_task(work)

    def _make_broker(self, replica: ReplicaSpec) -> BusBroker:
        return BusBroker(
            app=self.spec.app,
            component=replica.component.name,
            replica=replica.id,
            node=self.spec.node,
            transport=self._transport,
        )

    # What it says.

    def _replica_changed(self, replica: Replica, from_state: ReplicaState) -> None:
        host_logging.assert_again()
        is_gateway = replica.component == GATEWAY
        self._directory.set_local(replica.report(), None if is_gateway else _mounted(replica))
        if is_gateway:
            self._gateway_changed(replica)
        else:
            self._server.set_apps(self._apps())
        log.info(
            "replica.transitioned",
            extra={
                "replica_id": replica.id,
                "from": from_state,
                "to": replica.state,
                "reason": replica.reason,
            },
        )
        if replica.state is ReplicaState.READY and from_state is ReplicaState.STARTING:
            self._announce_registration(replica)
        self._announcer.announce(
            ComponentTransitioned(
                component=replica.component,
                replica=replica.id,
                host=self.spec.id,
                endpoint=self._server.endpoint,
                prefix="" if is_gateway else replica.spec.component.address,
                from_state=from_state,
                to_state=replica.state,
                health=replica.health,
                reason=replica.reason,
                error=replica.error.as_dict() if replica.error else None,
                permanent=replica.permanent,
            )
        )

    def _gateway_changed(self, replica: Replica) -> None:
        match replica.state:
            case ReplicaState.READY | ReplicaState.DEGRADED if replica.app is not None:
                self._run(self._server.open_to_the_public(replica.id, replica.app))
            case ReplicaState.FAILED | ReplicaState.STOPPED:
                self._run(self._server.close_to_the_public(replica.id, grace_s=0.0))
            case _:
                pass

    async def _withdraw(self, replica: Replica) -> bool:
        """Keep new requests away from a draining replica; return whether some may yet be on their way.

        The local gateway knows already. Those elsewhere learn it from the bus; while that is away, they
        learn it by being refused.
        """
        if replica.component == GATEWAY:
            grace_s = replica.spec.component.grace_period_s
            linger_s = PUBLIC_LINGER_S if await self._another_gateway(replica) else 0.0
            await self._server.close_to_the_public(replica.id, grace_s=grace_s, linger_s=linger_s)
            return False
        alone = self._transport.kind == "memory"
        return not alone and await self._announcer.flush(timeout_s=ANNOUNCE_TIMEOUT_S)

    async def _another_gateway(self, replica: Replica) -> bool:
        """Tell whether another gateway takes what is new; its readiness may be on its way to us."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANNOUNCE_TIMEOUT_S):
                await self._directory.caught_up()
        states = self._directory.status().get(GATEWAY, {})
        return any(state in SERVING for name, state in states.items() if name != replica.id)

    def _apps(self) -> dict[str, AsgiApp]:
        """Return what answers below each prefix: a replica that serves, else one that drains, or refuses."""
        best_last = sorted(self.replicas.values(), key=lambda each: (each.serving, each.app is not None))
        # A gateway answers on the public socket alone.
        return {
            replica.spec.component.address: replica.app or refusing(replica.component, replica.id)
            for replica in best_last
            if replica.component != GATEWAY
        }

    def _reports(self) -> list[ReplicaReport]:
        return [replica.report() for replica in self.replicas.values()]

    def _specs(self) -> list[ReplicaSpec]:
        # A copy first: another thread calls this, and a replica may be added meanwhile.
        return [replica.spec for replica in list(self.replicas.values())]

    def _announce_registration(self, replica: Replica) -> None:
        self._announcer.announce(
            ComponentRegistered(
                component=replica.component,
                replica=replica.id,
                host=self.spec.id,
                endpoint=self._server.endpoint,
                prefix=replica.spec.component.address,
                routes=replica.routes,
                streams=replica.subscriptions,
            )
        )

    @property
    def _interval_s(self) -> float:
        return min(replica.spec.component.health.interval_s for replica in self.replicas.values())

    async def _pulse(self) -> None:
        interval_s = self._interval_s
        while True:
            self._announcer.announce(self._heartbeat(interval_s))
            self._unreaped.reap(clock.now_s())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_until_next(interval_s)):
                    await self._pulse_now.wait()
                self._pulse_now.clear()

    async def _watch_health(self) -> None:
        # Apart from the pulse: a slow answer must not make the host silent, for which it would be killed.
        while True:
            await asyncio.sleep(_until_next(self._interval_s))
            await asyncio.gather(*(replica.check_health() for replica in self.replicas.values()))

    def _heartbeat(self, interval_s: float) -> HostHeartbeat:
        usage = self._usage.read()
        return HostHeartbeat(
            host=self.spec.id,
            pid=os.getpid(),
            endpoint=self._server.endpoint,
            public_url=self._server.public_url,
            interval_s=interval_s,
            rss_bytes=usage.rss_bytes,
            cpu_percent=usage.cpu_percent,
            autostarted=self.spec.autostart,
            log_loss=LOSSES.so_far(),
            replicas=tuple(self._reports()),
        )

    # What it is told.

    async def _carry_out(self, command: Command) -> ControlError | None:
        if isinstance(command, StartReplica) and self._stop_asked.is_set():
            # Nobody would stop that replica any more, and the host would never end.
            return self._is_stopping()
        replica = self._replica_for(command)
        if isinstance(command, ReportHost):
            self._pulse_now.set()
        elif replica is None:
            return ControlError(f"host '{self.spec.id}' holds no replica '{command.replica}'")
        elif isinstance(command, StopReplica):
            # Not behind the lock: a stop must be able to interrupt a start that hangs.
            await replica.stop(grace_period_s=command.grace_period_s)
        elif not await self._start(replica):
            return self._is_stopping()
        return None

    def _replica_for(self, command: Command) -> Replica | None:
        """Return the replica that is meant; one more is made here where it is to be started (scale, move)."""
        if command.replica not in self.replicas and isinstance(command, StartReplica):
            held = (replica.spec.component for replica in self.replicas.values())
            spec = next((spec for spec in held if spec.name == command.component), command.spec)
            if spec is not None:
                self._add_replica(ReplicaSpec(id=command.replica, component=spec))
        return self.replicas.get(command.replica)

    def _add_replica(self, spec: ReplicaSpec) -> None:
        self.replicas[spec.id] = Replica(spec, self._around)
        self._locks[spec.id] = asyncio.Lock()

    async def _start(self, replica: Replica) -> bool:
        """Start a replica, after what is still under way; not in a host that stops, since it would stay."""
        async with self._locks[replica.id]:
            if self._stop_asked.is_set():
                return False
            await replica.start()
            return True

    def _is_stopping(self) -> ControlError:
        return ControlError(f"host '{self.spec.id}' is stopping", code="E3007")


def _until_next(interval_s: float) -> float:
    """Return the seconds to the next multiple of the interval.

    The monotonic clock is the same for every process of a machine, so all hosts speak in one moment and
    whoever listens wakes up once for all of them (as with the coalescing of kernel timers).
    """
    return interval_s - clock.now_s() % interval_s


def _mounted(replica: Replica) -> AsgiApp | None:
    return Mount(replica.spec.component.address, replica.app) if replica.app else None
