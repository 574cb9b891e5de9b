"""Hosts in this process: what single mode uses. One event loop, no socket between replicas."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

from contracts.specs import HostSpec
from contracts.state import SharedState
from control_plane.brokers import StreamTransport
from control_plane.hosting import Adopted, Exited
from control_plane.runtime.environment import take_on
from control_plane.runtime.host import Host
from control_plane.runtime.paths import RuntimeDir

log = logging.getLogger("coplane.hosting")


class InlineHosting:
    """Runs each host as a task of its own; its end is told like the end of a process."""

    def __init__(
        self,
        runtime: RuntimeDir,
        *,
        transport: StreamTransport,
        state: SharedState,
        public_sockets: Sequence[socket.socket],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._runtime = runtime
        self._transport = transport
        self._state = state
        self._public_sockets = public_sockets
        self._tasks = tasks
        self._hosts: dict[str, tuple[Host, asyncio.Task[None]]] = {}
        self._exits: asyncio.Queue[Exited] = asyncio.Queue(maxsize=64)

    def _completed(self, spec: HostSpec) -> HostSpec:
        return spec.model_copy(
            update={
                "home": str(self._runtime.home),
                "project": str(self._runtime.project),
                "listen": f"unix://{self._runtime.host_socket(spec.id)}",
            }
        )

    @property
    def last_epoch(self) -> int:
        """Nothing ran before us in this process."""
        return 0

    async def spawn(self, spec: HostSpec) -> int:
        """Run the host as a task; its process id is ours."""
        take_on(replica.component for replica in spec.replicas)
        host = Host(
            self._completed(spec),
            transport=self._transport,
            state=self._state,
            public_sockets=self._public_sockets,
        )
        self._hosts[spec.id] = (host, self._tasks.create_task(self._hold(host)))
        return os.getpid()

    async def terminate(self, host: str) -> None:
        """Ask the host to stop by itself."""
        if host in self._hosts:
            self._hosts[host][0].stop("told to")

    async def kill(self, host: str, *, within_s: float | None = None) -> bool:
        """Cancel the host's task and everything in it."""
        if host in self._hosts:
            self._hosts[host][1].cancel()
        return True

    def adopted(self) -> Sequence[Adopted]:
        """Return nothing: a host in this process never outlives it."""
        return ()

    async def remember(self, memory: dict[str, Any]) -> None:
        """Forget it: nothing here outlives this process."""

    def recall(self) -> dict[str, Any]:
        """Return nothing: a launch in one process begins anew."""
        return {}

    async def events(self) -> AsyncIterator[Exited]:
        """Iterate over the ends of hosts."""
        while True:
            yield await self._exits.get()

    async def _hold(self, host: Host) -> None:
        exit_code = 0
        try:
            await host.run()
        except Exception:
            # The supervision boundary: it becomes an exit, which core answers with a new host.
            log.exception("host.crashed", extra={"host": host.spec.id})
            exit_code = 1
        finally:
            self._hosts.pop(host.spec.id, None)
            self._exits.put_nowait(Exited(host.spec.id, os.getpid(), exit_code, None))
