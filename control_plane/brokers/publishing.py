"""Publishing: what is published waits for room and for the bus, up to its deadline.

A publish that failed with a deadline may have been accepted all the same: the answer may be what got
lost. Consumers see such a message twice when its publisher tries again, as delivery is at least once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from faststream._internal.parser import DefaultCodec
from faststream._internal.producer import ProducerProto
from faststream.exceptions import FeatureNotSupportedException
from faststream.response import PublishCommand
from faststream.response.publish_type import PublishType

from contracts.errors import BusError
from control_plane.brokers import correlation, wire
from control_plane.brokers.errors import BusUnavailable, StreamFull
from control_plane.brokers.messages import decode_message, parse_message
from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import StreamTransport

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
        self._origin = component, replica
        self._settings = settings
        self._at_ms, self._at = 0, ""
        self._parser = parse_message
        self._decoder = decode_message
        self.codec = DefaultCodec()

    async def publish(self, cmd: PublishCommand) -> str:
        """Append the message to its stream and return its id."""
        timeout_s = cmd.timeout_s if isinstance(cmd, BusCommand) else TIMEOUT_S
        return await self.append(
            cmd.body,
            cmd.destination,
            correlation_id=cmd.correlation_id,
            headers=cmd.headers,
            timeout_s=timeout_s,
        )

    async def append(
        self,
        message: Any,
        stream: str,
        *,
        correlation_id: str | None,
        headers: Mapping[str, Any] | None,
        timeout_s: float,
    ) -> str:
        """Append a message to a stream: what a command for it would say, without the command.

        While the stream is full or the bus away, it tries again for `timeout_s`.

        Raises:
            BusError: it did not come about in time (E4001, E4004), or the bus refused (E4002, E4003).
        """
        stream, fields = f"{self._prefix}{stream}", self._fields(message, correlation_id, headers)
        transport, settings = self._transport, self._settings
        ends_s, left_s, pause_s = time.monotonic() + timeout_s, timeout_s, settings.publish_pause_s
        latest: BusError | None = None
        try:
            while left_s > 0 or latest is None:
                try:
                    return await transport.append(
                        stream, fields, max_len=settings.max_len, keep=settings.keep, timeout_s=left_s
                    )
                except TimeoutError as exc:
                    if latest is not None and left_s <= settings.publish_pause_max_s:
                        raise latest from exc  # there was little time to answer once more
                    silent = f"no answer from the bus at {transport.url} within {timeout_s:g} s"
                    raise BusUnavailable(silent) from exc
                except (StreamFull, BusUnavailable) as exc:
                    latest = exc
                left_s = max(ends_s - time.monotonic(), 0.0)
                if isinstance(latest, StreamFull):
                    await transport.wait_for_room(stream, timeout_s=min(pause_s, left_s))
                else:
                    await asyncio.sleep(min(pause_s, left_s))
                left_s = ends_s - time.monotonic()
                pause_s = min(pause_s * 2, settings.publish_pause_max_s)
            raise latest
        finally:
            latest = None  # else it and this frame would keep each other, and the message, in memory

    async def request(self, cmd: PublishCommand) -> Any:
        """Refuse: a stream has no answer."""
        raise FeatureNotSupportedException("streams have no replies; use ComponentContext.call")

    async def publish_batch(self, cmd: PublishCommand) -> Any:
        """Refuse: each message is delivered by itself."""
        raise FeatureNotSupportedException(
            "publish the messages one by one, at once: they share a connection"
        )

    def _fields(
        self, message: Any, correlation_id: str | None, headers: Mapping[str, Any] | None
    ) -> dict[str, str]:
        fields, message_id = wire.encode(message), correlation.new_id()
        inherited_id, traceparent = correlation.current()
        fields["message_id"] = message_id
        # The first message of a story gives it its name.
        fields["correlation_id"] = correlation_id or inherited_id or message_id
        fields["traceparent"] = traceparent
        now_ms = time.time_ns() // 1_000_000
        if now_ms != self._at_ms:  # else the last message was published in this millisecond too
            self._at_ms, self._at = now_ms, _iso(now_ms)
        fields["at"] = self._at
        fields["component"], fields["replica"] = self._origin
        if headers:
            fields.update(wire.encode_headers(headers))
        return fields


def _iso(now_ms: int) -> str:
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds")
