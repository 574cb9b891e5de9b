"""The bus: streams in memory or in Redis, the delivery loop, and the FastStream broker on top.

Names load on first use: the control plane needs no FastStream, and single mode no Redis client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from control_plane.brokers.transport import Delivery, Entry, GroupInfo, StreamInfo, StreamTransport

if TYPE_CHECKING:
    from control_plane.brokers.consumer import DrainReport, Failure
    from control_plane.brokers.errors import BusUnavailable, GroupMissing, StreamFull
    from control_plane.brokers.faststream import BusBroker, BusRouter
    from control_plane.brokers.settings import DeliverySettings

__all__ = [
    "BusBroker",
    "BusRouter",
    "BusUnavailable",
    "Delivery",
    "DeliverySettings",
    "DrainReport",
    "Entry",
    "Failure",
    "GroupInfo",
    "GroupMissing",
    "StreamFull",
    "StreamInfo",
    "StreamTransport",
    "open_transport",
]

_HOMES = {
    "BusBroker": "faststream",
    "BusRouter": "faststream",
    "BusUnavailable": "errors",
    "DeliverySettings": "settings",
    "DrainReport": "consumer",
    "Failure": "consumer",
    "GroupMissing": "errors",
    "StreamFull": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"control_plane.brokers.{_HOMES[name]}"), name)


async def open_transport(url: str) -> StreamTransport:
    """Return a transport for memory:// (a fresh one each time), redis://, rediss:// or unix://.

    Redis is connected to on first use, so a server that starts at the same time is no error.

    Raises:
        BusError: the URL cannot be read (E4003).
    """
    if url.startswith("memory:"):
        from control_plane.brokers.memory_transport import MemoryTransport

        return MemoryTransport()
    from control_plane.brokers.redis_transport import RedisTransport

    return RedisTransport(url)
