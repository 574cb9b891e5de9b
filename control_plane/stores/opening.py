"""Opens the shared state that belongs to a bus: memory for memory, Redis for Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from control_plane.stores.memory import MemoryState

if TYPE_CHECKING:
    from control_plane.stores.redis import RedisState


@asynccontextmanager
async def open_state(app: str, url: str) -> AsyncIterator[MemoryState | RedisState]:
    """Give the shared state of an application beside the bus at `url`, and close its connections."""
    if url.startswith("memory:"):
        yield MemoryState(app)
        return
    # Loaded here, because single mode needs no Redis client.
    from control_plane.stores.redis import RedisState

    state = RedisState(app, url)
    try:
        yield state
    finally:
        await state.close()
