"""A bus entry as FastStream sees it.

Acknowledging is the delivery loop's work; `ack`, `nack` and `reject`, by method or by exception, are
noted here and carried out by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from faststream.message import AckStatus, StreamMessage

from control_plane.brokers import wire
from control_plane.brokers.transport import Delivery


@dataclass(slots=True, eq=False)
class Received:
    """The raw message: a delivery, and what the handler decided about it."""

    delivery: Delivery
    decided: AckStatus | None = None


class BusMessage(StreamMessage[Received]):
    """FastStream's message for one delivery."""

    async def ack(self) -> None:
        """Acknowledge the message, whatever the handler does afterwards."""
        await super().ack()
        self.raw_message.decided = self.committed

    async def nack(self) -> None:
        """Ask for the message to be delivered again."""
        await super().nack()
        self.raw_message.decided = self.committed

    async def reject(self) -> None:
        """Send the message to the dead letters."""
        await super().reject()
        self.raw_message.decided = self.committed


async def parse_message(raw: Received) -> BusMessage:
    """Read an entry; what a person left out takes its default."""
    entry = raw.delivery.entry
    fields = entry.fields
    return BusMessage(
        raw,
        fields.get("data", "").encode(),
        headers=wire.decode_headers(fields),
        content_type=fields.get("content_type", wire.JSON),
        correlation_id=fields.get("correlation_id") or entry.id,
        message_id=fields.get("message_id") or entry.id,
    )


async def decode_message(message: StreamMessage[Received]) -> Any:
    """Return the payload of a message."""
    return wire.decode(message.raw_message.delivery.entry.fields)
