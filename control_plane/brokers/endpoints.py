"""FastStream's two ends of a stream: the subscriber, and the publisher.

They only translate: FastStream gives injection, validation, middlewares and routers; the delivery loop
decides when a handler runs and what its outcome means for the message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fast_depends.exceptions import ValidationError
from faststream._internal.configs import BrokerConfig, PublisherUsecaseConfig, SubscriberUsecaseConfig
from faststream._internal.endpoint.call_wrapper import HandlerCallWrapper
from faststream._internal.endpoint.publisher import PublisherUsecase
from faststream._internal.endpoint.publisher.proto import PublisherProto
from faststream._internal.endpoint.subscriber import SubscriberUsecase
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.testing.calls import CallRecorder
from faststream._internal.types import PublisherMiddleware
from faststream.exceptions import (
    AckMessage,
    FeatureNotSupportedException,
    NackMessage,
    RejectMessage,
    SkipMessage,
    SubscriberNotFound,
)
from faststream.message import AckStatus, StreamMessage
from faststream.middlewares import AckPolicy
from faststream.response import PublishCommand

from control_plane.brokers import wire
from control_plane.brokers.consumer import DrainReport, Failure, Route, Subscription
from control_plane.brokers.correlation import handled
from control_plane.brokers.errors import Undeliverable
from control_plane.brokers.messages import Received, decode_message, parse_message
from control_plane.brokers.plain import PlainCall, plain_call
from control_plane.brokers.publishing import TIMEOUT_S, BusCommand
from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.specification import BusPublisherSpecification, BusSubscriberSpecification
from control_plane.brokers.transport import Delivery, StreamTransport


@dataclass(kw_only=True)
class BusConfig(BrokerConfig):
    """What FastStream's parts of one broker share; endpoints reach it through their routers."""

    app: str
    component: str
    replica: str
    transport: StreamTransport
    settings: DeliverySettings
    on_failure: Callable[[Failure], None]


@dataclass(frozen=True)
class StreamOptions:
    """What a subscriber asked for."""

    stream: str
    broadcast: bool = False
    concurrency: int = 1
    max_deliveries: int = 5


@dataclass(kw_only=True)
class _SubscriberConfig(SubscriberUsecaseConfig):
    parser: Any = field(default=parse_message)
    decoder: Any = field(default=decode_message)

    @property
    def ack_policy(self) -> AckPolicy:
        return AckPolicy.MANUAL  # the delivery loop acknowledges


class _Handler(HandlerCallWrapper[..., Any]):
    """FastStream's wrapper of a handler; the mock for tests is made when one looks at it.

    It is a class of its own, and costs more than all the rest.
    """

    def __init__(self, call: Callable[..., Any], outer_config: BrokerConfig) -> None:
        self._outer_config = outer_config
        self._declared_call = self._composed_call = call
        self._wrapped_call = None
        self._publishers = []
        self._subscribers = []
        self.future = None
        self.is_test = False

    @cached_property
    def _recorder(self) -> CallRecorder:  # type: ignore[override]
        call = self._declared_call
        return CallRecorder(getattr(call, "__name__", repr(call)), self._outer_config)


class BusSubscriber(SubscriberUsecase[Received]):
    """Handles the messages of one stream."""

    _call_wrapper_class = _Handler
    # Where the broker is known, its configuration is first in the composition; see ConfigComposition.
    _outer_config: BusConfig

    def __init__(self, config: BrokerConfig, options: StreamOptions) -> None:
        calls = CallsCollection[Received]()
        super().__init__(
            _SubscriberConfig(_outer_config=config),
            BusSubscriberSpecification(config, calls, options.stream),
            calls,
        )
        self._options = options
        self._subscription: Subscription | None = None
        self._plain: PlainCall | None = None

    @property
    def stream(self) -> str:
        """Return the short name of the stream, with the prefixes of its routers."""
        return f"{self._outer_config.prefix}{self._options.stream}"

    @property
    def group(self) -> str:
        """Return the consumer group: the component, or this replica alone for a broadcast."""
        config = self._outer_config
        return f"{config.component}.{config.replica}" if self._options.broadcast else config.component

    @property
    def replica_id(self) -> str:
        """Return the replica whose handler this is."""
        return self._outer_config.replica

    async def start(self) -> None:
        """Make the group and begin to consume."""
        if self._subscription is not None:
            return
        await super().start()
        self._plain = plain_call(self, parser=parse_message, decoder=decode_message)
        config = self._outer_config
        subscription = Subscription(
            config.transport,
            self._route(),
            self._deliver,
            settings=config.settings,
            on_failure=config.on_failure,
        )
        await subscription.start()
        self._subscription = subscription
        self._post_start()

    async def stop(self) -> None:
        """Cancel handlers and give back what they held."""
        self.running = False
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.stop()

    async def drain(self, timeout_s: float) -> DrainReport:
        """Take nothing new and let handlers finish, at most `timeout_s`."""
        if self._subscription is None:
            return DrainReport()
        report = await self._subscription.drain(timeout_s)
        self._subscription = None
        self.running = False
        return report

    def _route(self) -> Route:
        config, options = self._outer_config, self._options
        return Route(
            stream=f"{config.app}:bus:{self.stream}",
            dead_stream=f"{config.app}:dead:{self.stream}",
            group=self.group,
            consumer=config.replica,
            concurrency=options.concurrency,
            max_deliveries=options.max_deliveries,
        )

    async def _deliver(self, delivery: Delivery) -> None:
        """Run the handler; return to acknowledge, raise to retry, raise `Undeliverable` to give up."""
        entry, raw = delivery.entry, None
        fields = entry.fields
        token = handled.set((fields.get("correlation_id") or entry.id, fields.get("traceparent", "")))
        try:
            if self._plain is not None:
                await self._plain(wire.decode(fields))
            else:
                raw = Received(delivery)
                await self.process_message(raw)
        except (AckMessage, SkipMessage):
            return
        except RejectMessage as exc:
            raise Undeliverable("the handler rejected it") from exc
        except SubscriberNotFound as exc:
            raise Undeliverable("no handler's filter takes it") from exc
        except ValidationError as exc:
            if _is_about_the_payload(exc):
                raise Undeliverable("it does not validate") from exc.original_error
            raise
        except Exception:
            if raw is None or raw.decided is not AckStatus.ACKED:
                raise
        finally:
            handled.reset(token)
        if raw is None:
            return
        if raw.decided is AckStatus.NACKED:
            raise NackMessage
        if raw.decided is AckStatus.REJECTED:
            raise Undeliverable("the handler rejected it")

    def _make_response_publisher(self, message: StreamMessage[Received]) -> Iterable[PublisherProto]:
        return ()  # streams have no reply address

    async def get_one(self, *, timeout: float = 5) -> StreamMessage[Received] | None:
        """Refuse: a message without a handler has nobody to acknowledge it."""
        raise FeatureNotSupportedException("subscribe a handler; a stream is not read one by one")

    def __aiter__(self) -> AsyncIterator[StreamMessage[Received]]:
        raise FeatureNotSupportedException("subscribe a handler; a stream is not iterated over")


class BusPublisher(PublisherUsecase):
    """Publishes to one stream; as a decorator, what the handler returns."""

    _call_wrapper_class = _Handler
    _outer_config: BusConfig

    def __init__(self, config: BrokerConfig, stream: str) -> None:
        super().__init__(
            PublisherUsecaseConfig(_outer_config=config), BusPublisherSpecification(config, stream)
        )
        self._stream = stream

    @property
    def stream(self) -> str:
        """Return the short name of the stream, with the prefixes of its routers."""
        return f"{self._outer_config.prefix}{self._stream}"

    async def publish(
        self,
        message: Any,
        /,
        *,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> str:
        """Append a message and return its id; waits like `BusBroker.publish`."""
        command = BusCommand(
            message, self.stream, correlation_id=correlation_id, headers=headers, timeout_s=timeout_s
        )
        entry_id: str = await self._basic_publish(
            command, producer=self._outer_config.producer, _extra_middlewares=()
        )
        return entry_id

    async def _publish(
        self, cmd: PublishCommand, *, _extra_middlewares: Iterable[PublisherMiddleware]
    ) -> None:
        cmd.destination = self.stream
        await self._basic_publish(
            cmd, producer=self._outer_config.producer, _extra_middlewares=_extra_middlewares
        )

    async def request(self, message: Any, /, *, correlation_id: str | None = None) -> Any:
        """Refuse: a stream has no answer."""
        raise FeatureNotSupportedException("streams have no replies; use ComponentContext.call")


def _is_about_the_payload(exc: ValidationError) -> bool:
    fields: Sequence[Any] = exc.error_fields
    return all(item.field_name != "return" for item in fields)
