"""Who leads: one control plane for each application on one bus, by a lease.

The lease is on the bus, since two launches in two folders share nothing else. It is held in the name of a
launch of the runtime folder. Whoever begins a launch there holds the folder's lock, and so knows that the one
before is dead: it takes the lease over without waiting for its end, at whatever moment the one before died.
A leader that was paused past its lease is certain of nothing until it has renewed it; where somebody else
leads by then, of the same folder or not, it gives up.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from contracts.errors import BusError, LaunchError
from contracts.state import Lease, SharedState
from control_plane.runtime import clock
from control_plane.stores import LeaseTable

log = logging.getLogger("coplane.leadership")

LEASE: Final = "control-plane"
LEADER_KEY: Final = "ctl.leader"
TTL_S: Final = 10.0
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Leadership:
    """The lease of one launch. `folder` is its runtime folder; `file` makes it unlike any other."""

    def __init__(self, app: str, leases: LeaseTable, state: SharedState, *, folder: Path, file: Path) -> None:
        self._app = app
        self._leases = leases
        self._state = state
        self._folder = folder
        self._file = file
        self._holder = ""
        self._token = 0
        self._certain_until_s = 0.0
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_certain(self) -> bool:
        """Tell whether nobody else can lead now."""
        return clock.now_s() < self._certain_until_s

    async def take(self) -> None:
        """Take the lease; that of a dead launch of the same folder is taken over.

        Raises:
            LaunchError: another control plane leads the application on this bus (E2013).
            BusError: the bus does not answer.
        """
        folder = _name(self._file)
        self._holder = f"{folder}{secrets.token_hex(8)}"
        if not await self._grant(heir_of=folder):
            raise await self._refusal()
        who = {"folder": str(self._folder), "pid": os.getpid(), "host": os.uname().nodename}
        await self._state.set(LEADER_KEY, who)

    async def keep(self) -> None:
        """Renew the lease until cancelled; while the bus is away, nobody else can have it either.

        Raises:
            LaunchError: another control plane has taken it (E2013).
        """
        while True:
            await asyncio.sleep(TTL_S / 3)
            with suppress(BusError):
                await self.confirm()

    async def confirm(self) -> None:
        """Renew the lease now; one that ran out, or that the bus has lost, is taken again.

        Raises:
            LaunchError: another control plane has taken it (E2013).
            BusError: the bus does not answer.
        """
        async with self._one_at_a_time:  # lest one renewal finds the lease taken by the other
            asked_s = clock.now_s()
            if await self._leases.renew(Lease(LEASE, self._token, TTL_S)):
                self._certain_until_s = asked_s + TTL_S
            elif not await self._grant():
                self._certain_until_s = 0.0
                raise await self._refusal()

    async def give_up(self) -> None:
        """Give the lease back, so that nobody need wait for its end; leave alone what others hold."""
        with suppress(BusError, LaunchError):  # unreachable: then the next launch here takes it over
            await self.confirm()  # or a grant of which we have not heard would stay
            await self._leases.release(Lease(LEASE, self._token, TTL_S))
            self._file.unlink(missing_ok=True)
        self._certain_until_s = 0.0

    async def _grant(self, *, heir_of: str = "") -> bool:
        asked_s = clock.now_s()
        grant = await self._leases.grant(LEASE, TTL_S, self._holder, heir_of)
        if grant.token:
            self._token, self._certain_until_s = grant.token, asked_s + TTL_S
        return bool(grant.token)

    async def _refusal(self) -> LaunchError:
        leader: Any = None
        with suppress(BusError):
            leader = await self._state.get(LEADER_KEY)
        return LaunchError(
            f"another control plane leads application '{self._app}' on this bus",
            why=_description(leader),
            fix="stop it there with `ctl stop`, or give this backend another [app] name or [bus] url",
            code="E2013",
        )


def _name(file: Path) -> str:
    """Return the name of the folder that the file is in: not that of a copy, here or on another machine."""
    try:
        with open(os.open(file, os.O_CREAT | os.O_RDWR, 0o600), "r+", errors="replace") as noted:
            name = noted.read().strip()
            if not name:
                name = secrets.token_hex(8)
                noted.write(f"{name}\n")
            info = os.fstat(noted.fileno())
            return f"{_kernel()}/{info.st_dev}:{info.st_ino}/{name}/"
    except OSError as exc:  # a full disk: then the next launch here is refused until the lease runs out
        log.warning("lease.not_noted", extra={"error": str(exc)})
        return f"{secrets.token_hex(8)}/"


def _kernel() -> str:
    """Return whose locks are ours as well: those of one kernel, in whatever container."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:  # not Linux
        return os.uname().nodename


def _description(leader: Any) -> str:
    if not isinstance(leader, dict):
        return ""
    return f"process {leader.get('pid')} on {leader.get('host')}, in {leader.get('folder')}"
