"""Leaves what a later control plane is to know with whoever outlives this one: always the newest."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from contracts.errors import CoplaneError
from control_plane.core.memory import Memory, remembered
from control_plane.core.state import State
from control_plane.hosting import Hosting

log = logging.getLogger("coplane.supervisor")

# Between two sendings: the whole memory is made and compared for each.
PAUSE_S = 0.5


class Keeper:
    """Sends the memory whenever it has changed; who supervises does not wait for it.

    What operators want, and what has failed or finished, is sent at once, other histories now and then.
    """

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._newest: State | None = None
        self._kept: Memory | None = None
        self._changed = asyncio.Event()
        self._asked = asyncio.Event()

    def note(self, state: State, *, at_once: bool = False) -> None:
        """Take note of this state, which is `at_once` to be sent; returns before it is."""
        before, self._newest = self._newest, state
        is_asked = at_once or before is None or not _is_wanted_the_same(before, state)
        if is_asked:
            self._asked.set()
        if before is None or is_asked or before.observed.replicas is not state.observed.replicas:
            self._changed.set()

    async def run(self) -> None:
        """Send the newest memory, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._asked.clear()
            if self._newest is not None:
                await self._keep(remembered(self._newest))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_S):
                    await self._asked.wait()

    async def _keep(self, memory: Memory) -> None:
        if memory == self._kept:
            return
        try:
            await self._hosting.remember(memory.as_json())
            self._kept = memory
        except CoplaneError as exc:
            # If the anchor is gone, its events say so.
            log.warning("memory.not_kept", extra={"error": str(exc)})
            self._changed.set()


def _is_wanted_the_same(before: State, after: State) -> bool:
    return (
        before.desired is after.desired
        and before.open_requests is after.open_requests
        and before.known_requests is after.known_requests
    )
