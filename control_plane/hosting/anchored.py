"""Hosts as processes of their own, forked by the anchor: what multi and hybrid mode use."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any

from contracts.specs import GATEWAY, HostSpec
from control_plane.hosting import Adopted, Delayed, Exited
from control_plane.runtime.anchor_client import AnchorClient, AnchorGone
from control_plane.runtime.anchor_protocol import HostDelayed, HostGone, Stopping
from control_plane.runtime.paths import RuntimeDir
from control_plane.runtime.remains import Remains


class AnchoredHosting:
    """Speaks to the anchor over its socket."""

    def __init__(
        self, anchor: AnchorClient, runtime: RuntimeDir, *, bus_url: str, public_fds: tuple[int, ...]
    ) -> None:
        self._anchor = anchor
        self._runtime = runtime
        self._bus_url = bus_url
        self._public_fds = public_fds
        self._pids = {host.spec.id: host.pid for host in anchor.welcome.hosts}
        self._remains: Remains | None = None

    @property
    def last_epoch(self) -> int:
        """The highest epoch among the hosts that the anchor held when we connected."""
        return max((host.spec.epoch for host in self._anchor.welcome.hosts), default=0)

    async def spawn(self, spec: HostSpec) -> int:
        """Fork a host; return its process id."""
        try:
            pid = self._pids[spec.id] = await self._anchor.spawn(self._completed(spec))
        except AnchorGone:
            self._anchor.disown(spec.id)
            raise
        return pid

    async def terminate(self, host: str) -> None:
        """Send SIGTERM to the host."""
        await self._anchor.signal(host, signal.SIGTERM)

    async def kill(self, host: str, *, within_s: float | None = None) -> bool:
        """Kill the host's whole process group; an anchor that was frozen may come to it too late."""
        return await self._anchor.signal(host, signal.SIGKILL, within_s=within_s)

    def adopted(self) -> Sequence[Adopted]:
        """Return the hosts that the anchor held when we connected."""
        return [
            Adopted(
                host.spec.id,
                host.pid,
                tuple((replica.id, replica.component.name) for replica in host.spec.replicas),
                host.spec.label,
            )
            for host in self._anchor.welcome.hosts
        ]

    async def remember(self, memory: dict[str, Any]) -> None:
        """Leave it with the anchor, which outlives this control plane."""
        await self._anchor.remember(memory)

    def recall(self) -> dict[str, Any]:
        """Return what the control plane before this one left with the anchor."""
        return self._anchor.welcome.memory

    async def events(self) -> AsyncIterator[Exited | Delayed]:
        """Iterate over the ends of hosts, and over what delays their beginnings.

        Raises:
            AnchorGone: it has died, or was told to end by somebody else.
        """
        ending = False
        async for event in self._anchor.events():
            ending = ending or isinstance(event, Stopping)
            if isinstance(event, HostDelayed):
                yield Delayed(event.host, event.why)
            if not isinstance(event, HostGone):
                continue
            if self._pids.get(event.host) == event.pid:
                del self._pids[event.host]
            # With an anchor that ends, all its hosts do, and that is the end of none by itself.
            if not ending:
                yield Exited(event.host, event.pid, event.exit_code, event.signal)
        # At once: what a host has started is found as long as the host is there.
        self.take_remains()
        raise AnchorGone("the anchor is gone", fix="run `ctl launch` again")

    def take_remains(self) -> Remains:
        """Return what hosts an anchor that is gone leaves behind."""
        self._remains = self._remains or Remains(self._pids.values())
        return self._remains

    def _completed(self, spec: HostSpec) -> HostSpec:
        # The public sockets are for the gateway's host alone.
        is_gateway = any(replica.component.name == GATEWAY for replica in spec.replicas)
        return spec.model_copy(
            update={
                "bus_url": self._bus_url,
                "home": str(self._runtime.home),
                "project": str(self._runtime.project),
                "listen": f"unix://{self._runtime.host_socket(spec.id)}",
                "public_fds": self._public_fds if is_gateway else (),
            }
        )
