"""Leaves what a later control plane is to know with whoever outlives this one: always the newest."""

from __future__ import annotations

import asyncio
import logging

from contracts.errors import CoplaneError
from control_plane.core import Memory, State, remembered
from control_plane.hosting import Hosting

log = logging.getLogger("coplane.supervisor")

PAUSE_S = 0.5


class Keeper:
    """Sends the memory whenever it has changed; who supervises does not wait for it."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._newest: Memory | None = None
        self._kept: Memory | None = None
        self._changed = asyncio.Event()

    def note(self, state: State) -> None:
        """Take note of what is to be known of this state; returns at once."""
        memory = remembered(state)
        if memory != self._newest:
            self._newest = memory
            self._changed.set()

    async def run(self) -> None:
        """Send the newest memory, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._newest is not None and self._newest is not self._kept:
                await self._keep(self._newest)

    async def _keep(self, memory: Memory) -> None:
        try:
            await self._hosting.remember(memory.as_json())
            self._kept = memory
        except CoplaneError as exc:
            # If the anchor is gone, its events say so.
            log.warning("memory.not_kept", extra={"error": str(exc)})
            await asyncio.sleep(PAUSE_S)
