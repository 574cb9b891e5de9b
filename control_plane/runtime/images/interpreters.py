"""Hosts as new interpreters, where a fork without exec is not safe: there is no image, and nothing waits."""

from __future__ import annotations

from contracts.specs import HostSpec
from control_plane.runtime import children
from control_plane.runtime.images.nursery import Owner


class Interpreters:
    """What the anchor asks of a `Nursery`, without images."""

    pids: frozenset[int] = frozenset()
    is_bearing = False
    wake_at_s: float | None = None

    def __init__(self, owner: Owner, entry: children.HostEntry) -> None:
        self._owner = owner
        self._entry = entry

    def awaits(self, host: str) -> bool:
        """Tell that no host waits."""
        return False

    def bear(self, spec: HostSpec) -> None:
        """Start a host at once; the owner hears of it."""
        try:
            pid = children.spawn_host(spec, self._entry)
        except OSError as exc:
            self._owner.stillborn(spec, str(exc))
        else:
            self._owner.born(spec, pid, doomed=False)

    def give_up(self, host: str) -> None:
        """Do nothing: no host waits."""

    def give_up_all(self) -> None:
        """Do nothing: no host waits."""

    def act(self, now_s: float) -> None:
        """Do nothing: no image is to be looked after."""

    def ended(self, pid: int) -> bool:
        """Tell that it was no image."""
        return False

    def close(self) -> None:
        """Do nothing: no image is to end."""

    def release(self) -> None:
        """Do nothing: there is no connection to close."""
