"""Where hosts run: in this process, or as children of the anchor.

The supervisor knows only this protocol; the launcher chooses the implementation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.specs import HostSpec


@dataclass(frozen=True)
class Exited:
    """A host ended: with an exit code, or killed by a signal."""

    host: str
    pid: int
    exit_code: int | None
    signal: int | None


@dataclass(frozen=True)
class Delayed:
    """A host has no process yet; `why` is what it waits for."""

    host: str
    why: str


@dataclass(frozen=True)
class Adopted:
    """A host that ran before this control plane; `replicas` are pairs of id and component."""

    host: str
    pid: int
    replicas: tuple[tuple[str, str], ...]
    key: str


class Hosting(Protocol):
    """Spawns and ends hosts, and tells of their ends and delays."""

    @property
    def last_epoch(self) -> int:
        """The highest epoch among the hosts that ran before this control plane; 0 where there are none."""
        ...

    async def spawn(self, spec: HostSpec) -> int:
        """Start a host and return its process id; bus, folders and sockets are filled in here.

        Raises:
            LaunchError: it could not be started.
        """
        ...

    async def terminate(self, host: str) -> None:
        """Ask a host to stop by itself."""
        ...

    async def kill(self, host: str, *, within_s: float | None = None) -> bool:
        """End a host and everything it started, at once.

        Args:
            within_s: for how long the order is valid; for ever where it is None.

        Returns:
            Whether it was obeyed, and did not come too late.
        """
        ...

    def adopted(self) -> Sequence[Adopted]:
        """Return the hosts that ran before this control plane."""
        ...

    async def remember(self, memory: dict[str, Any]) -> None:
        """Keep a JSON object for the control plane after this one; it replaces the one before.

        Raises:
            LaunchError: it could not be kept.
        """
        ...

    def recall(self) -> dict[str, Any]:
        """Return what the control plane before this one left; empty where there was none."""
        ...

    def events(self) -> AsyncIterator[Exited | Delayed]:
        """Iterate over the ends of hosts, and over what delays their beginnings."""
        ...
