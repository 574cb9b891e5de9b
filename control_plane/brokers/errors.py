"""What can go wrong between a broker and its bus, one class for each thing a caller does differently."""

from __future__ import annotations

from contracts.errors import BusError, BusUnavailable

__all__ = ["BusUnavailable", "GroupMissing", "StreamFull", "Undeliverable", "stream_full"]


class StreamFull(BusError):
    """The stream holds as many unfinished entries as it may; there will be room when a group acknowledges."""

    code = "E4004"


class GroupMissing(Exception):
    """The stream or its consumer group is gone; the delivery loop makes it anew."""


class Undeliverable(Exception):
    """The message can never be handled, so retrying is in vain; it goes to the dead letters at once."""


def stream_full(stream: str, max_len: int, *, behind: str) -> StreamFull:
    """Return the error for an append to a stream that the group `behind` has not kept up with."""
    return StreamFull(
        f"stream '{stream}' is full: {max_len} entries",
        why=f"group '{behind}' has not acknowledged the oldest of them",
        fix=f"see whether '{behind}' runs and keeps up, or give it more replicas",
    )
