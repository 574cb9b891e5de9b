"""Carries out what core wants done: commands to hosts, processes, answers. Decides nothing."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from contracts.errors import CoplaneError
from contracts.messages import ReportHost, StartReplica, StopReplica
from contracts.specs import HostSpec, ReplicaSpec
from control_plane.core.effects import (
    Answer,
    Conclude,
    Effect,
    KillHost,
    SendStart,
    SendStop,
    SpawnHost,
    StopHost,
)
from control_plane.core.inputs import HostSpared, HostSpawned, Input, SpawnFailed
from control_plane.hosting import Adopted, Hosting
from control_plane.runtime import clock
from control_plane.runtime.announcer import Announcer
from control_plane.supervisor.announcing import outcome
from control_plane.supervisor.commander import Commander
from control_plane.supervisor.identity import Identity
from control_plane.supervisor.requests import Requests

log = logging.getLogger("coplane.supervisor")

# An anchor that takes longer to obey was frozen, and so may its hosts have been.
ORDER_WITHIN_S = 1.0
T = TypeVar("T")


class Executor:
    """The hands of a supervisor; `forced` are the hosts that are being killed, and why."""

    def __init__(
        self,
        identity: Identity,
        *,
        hosting: Hosting,
        commander: Commander,
        requests: Requests,
        announcer: Announcer,
        inbox: asyncio.Queue[Input],
    ) -> None:
        self._identity = identity
        self._hosting = hosting
        self._commander = commander
        self._requests = requests
        self._announcer = announcer
        self._inbox = inbox
        self._tasks: asyncio.TaskGroup | None = None
        self.forced: dict[str, str] = {}
        # The newest order to kill each host.
        self._kills: dict[str, int] = {}
        self._numbers = itertools.count(1)

    def work_in(self, tasks: asyncio.TaskGroup) -> None:
        """Run what takes time in this task group."""
        self._tasks = tasks

    def carry_out(self, effect: Effect) -> None:
        """Begin to carry out an effect; returns at once."""
        match effect:
            case SpawnHost():
                self._run(self._spawn(effect))
            case SendStart():
                self._commander.send(self._start(effect), via=effect.via)
            case SendStop():
                self._commander.send(
                    StopReplica(**self._header(effect), grace_period_s=effect.grace_period_s)
                )
            case StopHost():
                self._run(self.end_host(self._hosting.terminate(effect.host)))
            case KillHost():
                log.warning("host.killed", extra={"host": effect.host, "reason": effect.reason})
                self._run(self.kill(effect.host, effect.reason, within_s=ORDER_WITHIN_S))
            case Answer():
                if not effect.accepted:
                    # Whoever wrote the request by hand reads it here.
                    log.warning(
                        "request.refused", extra={"request": effect.request_id, "error": effect.error}
                    )
                self._requests.answer(effect)
            case Conclude():
                self._announcer.announce(outcome(effect), insist=True)
                self._requests.conclude(effect)

    async def kill(self, host: str, reason: str, *, within_s: float | None = None) -> None:
        """Kill a host and all it started, within this time where one is given."""
        self.forced.setdefault(host, reason)  # the first kill is the one that counts
        order = self._kills[host] = next(self._numbers)
        obeyed = await self.end_host(self._hosting.kill(host, within_s=within_s))
        if obeyed is False and self._kills.get(host) == order:  # and no later one that may have been
            self.forced.pop(host, None)
            await self._inbox.put(HostSpared(host))

    def ended(self, host: str, *, by_the_stop: bool) -> str:
        """Forget what was done to a host that has ended; return why it was killed, if it was."""
        self._kills.pop(host, None)
        # What was killed in the stop of everything will be reported with that.
        return self.forced.get(host, "") if by_the_stop else self.forced.pop(host, "")

    async def end_host(self, ending: Coroutine[Any, Any, T]) -> T | None:
        """Let a host be ended; where that fails, the plan asks again until it has exited."""
        try:
            return await ending
        except CoplaneError as exc:
            # If the anchor is gone, its events say so.
            log.warning("host.not_ended", extra={"error": str(exc)})
            return None

    def ask_for_report(self, adopted: Adopted) -> None:
        """Have a host that was taken over say at once what runs in it."""
        _, component = adopted.replicas[0]
        epoch = self._identity.epoch
        self._commander.send(
            ReportHost(
                component=component,
                host=adopted.host,
                command_id=f"report-{epoch}-{adopted.host}",
                epoch=epoch,
                at=clock.utc_now(),
            )
        )

    def _start(self, effect: SendStart) -> StartReplica:
        spec = self._identity.settings.components[effect.component] if effect.via else None
        return StartReplica(**self._header(effect), spec=spec)

    def _header(self, effect: SendStart | SendStop) -> dict[str, Any]:
        return {
            "component": effect.component,
            "replica": effect.replica,
            "host": effect.host,
            "command_id": effect.command_id,
            "epoch": self._identity.epoch,
            "node": self._identity.node,
            "at": clock.utc_now(),
        }

    async def _spawn(self, effect: SpawnHost) -> None:
        try:
            pid = await self._hosting.spawn(self._host_spec(effect))
        except CoplaneError as exc:
            self._kills.pop(effect.host, None)
            self.forced.pop(effect.host, None)  # it was never there
            await self._inbox.put(SpawnFailed(effect.host, exc.as_dict()))
        else:
            await self._inbox.put(HostSpawned(effect.host, pid, effect.replicas, effect.key))

    def _host_spec(self, effect: SpawnHost) -> HostSpec:
        identity, components = self._identity, self._identity.settings.components
        return HostSpec(
            id=effect.host,
            label=effect.key,
            epoch=identity.epoch,
            app=identity.app,
            mode=identity.mode,
            node=identity.node,
            replicas=tuple(
                ReplicaSpec(id=replica, component=components[component])
                for replica, component in effect.replicas
            ),
        )

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._tasks is not None, "effects are carried out only while the supervisor runs"
        self._tasks.create_task(work)
