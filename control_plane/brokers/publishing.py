"""Publishing: what is published waits for room and for the bus, up to its deadline.

A publish that failed with a deadline may have been accepted all the same: the answer may be what got
lost. Consumers see such a message twice when its publisher tries again, as delivery is at least once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from faststream._internal.parser import DefaultCodec
from faststream._internal.producer import ProducerProto
from faststream.exceptions import FeatureNotSupportedException
from faststream.response import PublishCommand
from faststream.response.publish_type import PublishType

from contracts.errors import BusError
from control_plane.brokers import wire
from control_plane.brokers.correlation import current_correlation, new_id
from control_plane.brokers.errors import BusUnavailable, StreamFull
from control_plane.brokers.messages import decode_message, parse_message
from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import Fields, StreamTransport

TIMEOUT_S = 10.0


class BusCommand(PublishCommand):
    """A message on its way to a stream."""

    def __init__(
        self,
        message: Any,
        stream: str,
        *,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        super().__init__(
            message,
            _publish_type=PublishType.PUBLISH,
            destination=stream,
            correlation_id=correlation_id,
            headers=dict(headers or {}),
        )
        self.timeout_s = timeout_s


class BusProducer(ProducerProto[PublishCommand]):
    """FastStream's end of publishing: turns commands into entries."""

    def __init__(
        self,
        transport: StreamTransport,
        *,
        app: str,
        component: str,
        replica: str,
        settings: DeliverySettings,
    ) -> None:
        self._transport = transport
        self._prefix = f"{app}:bus:"
        self._origin = {"component": component, "replica": replica}
        self._settings = settings
        self._parser = parse_message
        self._decoder = decode_message
        self.codec = DefaultCodec()

    async def publish(self, cmd: PublishCommand) -> str:
        """Append the message to its stream and return its id."""
        timeout_s = cmd.timeout_s if isinstance(cmd, BusCommand) else TIMEOUT_S
        stream = f"{self._prefix}{cmd.destination}"
        return await append_within(
            self._transport, stream, self._fields(cmd), settings=self._settings, timeout_s=timeout_s
        )

    async def request(self, cmd: PublishCommand) -> Any:
        """Refuse: a stream has no answer."""
        raise FeatureNotSupportedException("streams have no replies; use ComponentContext.call")

    async def publish_batch(self, cmd: PublishCommand) -> Any:
        """Refuse: each message is delivered by itself."""
        raise FeatureNotSupportedException(
            "publish the messages one by one, at once: they share a connection"
        )

    def _fields(self, cmd: PublishCommand) -> dict[str, str]:
        correlation = current_correlation(cmd.correlation_id)
        return {
            **wire.encode(cmd.body),
            "message_id": new_id(),
            "correlation_id": correlation.correlation_id,
            "traceparent": correlation.traceparent,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            **self._origin,
            **wire.encode_headers(cmd.headers),
        }


async def append_within(
    transport: StreamTransport, stream: str, fields: Fields, *, settings: DeliverySettings, timeout_s: float
) -> str:
    """Append an entry; while the stream is full or the bus away, try again for `timeout_s`.

    Raises:
        BusError: it did not come about in time (E4001, E4004), or the bus refused (E4002, E4003).
    """
    latest: BusError | None = None
    pause_s = settings.publish_pause_s
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await transport.append(
                        stream, fields, max_len=settings.max_len, keep=settings.keep
                    )
                except StreamFull as exc:
                    latest = exc
                    await transport.wait_for_room(stream, timeout_s=pause_s)
                except BusUnavailable as exc:
                    latest = exc
                    await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, settings.publish_pause_max_s)
    except TimeoutError as exc:
        silent = BusUnavailable(f"no answer from the bus at {transport.url} within {timeout_s:g} s")
        raise latest or silent from exc
