"""Shared state: one interface (`contracts.state.SharedState`), in memory or in Redis.

`RedisState` loads on first use: single mode needs no Redis client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from control_plane.stores.leases import LeaseTable
from control_plane.stores.memory import MemoryState
from control_plane.stores.opening import open_state

if TYPE_CHECKING:
    from control_plane.stores.redis import RedisState

__all__ = ["LeaseTable", "MemoryState", "RedisState", "open_state"]


def __getattr__(name: str) -> Any:
    if name != "RedisState":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from control_plane.stores.redis import RedisState

    return RedisState
