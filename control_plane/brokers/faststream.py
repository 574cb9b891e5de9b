"""The FastStream broker that components get, in every mode.

A real broker (`BrokerUsecase`) over a `StreamTransport`: subscribers, publishers, routers, dependencies
and middlewares are FastStream's own; delivery is ours (consumer.py). `faststream.redis` is never
imported: it costs more time and memory than FastAPI.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from fast_depends.dependencies import Dependant
from faststream._internal.broker import BrokerUsecase
from faststream._internal.broker.registrator import Registrator
from faststream._internal.configs import BrokerConfig
from faststream._internal.context import ContextRepo
from faststream._internal.di import FastDependsConfig
from faststream._internal.logger import LoggerState
from faststream._internal.logger.logger_proxy import RealLoggerObject
from faststream._internal.types import BrokerMiddleware
from faststream.exceptions import FeatureNotSupportedException
from faststream.specification.schema import BrokerSpec

from contracts.errors import BusError, ComponentError
from control_plane.brokers.adoption import adopt, stand_in
from control_plane.brokers.argument_models import ArgumentModels
from control_plane.brokers.consumer import DrainReport, Failure
from control_plane.brokers.endpoints import BusConfig, BusPublisher, BusSubscriber, StreamOptions
from control_plane.brokers.messages import Received
from control_plane.brokers.publishing import TIMEOUT_S, BusCommand, BusProducer
from control_plane.brokers.settings import DeliverySettings
from control_plane.brokers.transport import StreamTransport

Middlewares = Sequence[BrokerMiddleware[Received]]


class BusRegistrator(Registrator[Received, BrokerConfig]):
    """What brokers and routers have in common: they register subscribers and publishers by stream."""

    def subscriber(  # type: ignore[override]  # every FastStream broker has its own signature here
        self,
        stream: str,
        *,
        broadcast: bool = False,
        concurrency: int = 1,
        max_deliveries: int = 5,
        dependencies: Sequence[Dependant] = (),
    ) -> BusSubscriber:
        """Handle the messages of a stream: decorate a function with the result.

        Args:
            stream: the short name; on the bus it is `{app}:bus:{stream}`.
            broadcast: whether every replica gets every message, instead of one of them.
            concurrency: how many messages one replica handles at a time; above 1, in no order.
            max_deliveries: how often a message is tried before it becomes a dead letter.
            dependencies: `Depends(...)` to run for each message.
        """
        options = StreamOptions(stream, broadcast, concurrency, max_deliveries)
        subscriber = BusSubscriber(self.config, options)  # type: ignore[arg-type]  # the composition acts as one
        super().subscriber(subscriber)
        return subscriber.add_call(parser_=None, decoder_=None, dependencies_=dependencies)

    def publisher(self, stream: str) -> BusPublisher:  # type: ignore[override]  # as above
        """Publish to a stream: `await publisher.publish(message)`, or as a decorator of a handler."""
        publisher = BusPublisher(self.config, stream)  # type: ignore[arg-type]  # as above
        super().publisher(publisher)
        return publisher


class BusRouter(BusRegistrator):
    """Subscribers and publishers that a broker includes later."""

    def __init__(
        self,
        prefix: str = "",
        *,
        dependencies: Sequence[Dependant] = (),
        middlewares: Middlewares = (),
        routers: Iterable[BusRouter] = (),
    ) -> None:
        config = BrokerConfig(prefix=prefix, broker_dependencies=dependencies, broker_middlewares=middlewares)
        super().__init__(config=config, routers=routers)


class BusBroker(BusRegistrator, BrokerUsecase[Received, StreamTransport, BrokerConfig]):
    """The broker of one replica.

    Args:
        app, component, replica: they name the streams, the consumer group and the consumer.
        node: the machine, for the logs.
        transport: the streams; shared with others and not closed here.
        settings: how messages are delivered.
        on_failure: is told of each delivery that failed; logs it as E5007 by default.
    """

    def __init__(
        self,
        *,
        app: str,
        component: str,
        replica: str,
        node: str = "local",
        transport: StreamTransport,
        settings: DeliverySettings | None = None,
        on_failure: Callable[[Failure], None] | None = None,
    ) -> None:
        self._transport = transport
        self._adopted: list[Any] = []
        settings = settings or DeliverySettings()
        logger = logging.getLogger(f"component.{replica}")
        self._bus_producer = BusProducer(
            transport, app=app, component=component, replica=replica, settings=settings
        )
        config = BusConfig(
            app=app,
            component=component,
            replica=replica,
            transport=transport,
            settings=settings,
            on_failure=on_failure or FailureLog(logger, component=component, node=node),
            producer=self._bus_producer,
            logger=_QuietLogger(logger),
            fd_config=FastDependsConfig(
                serializer=ArgumentModels(use_fastdepends_errors=True), context=ContextRepo()
            ),
            extra_context={"broker": self},
        )
        self._own_config = config
        super().__init__(config=config, specification=_describe(transport), routers=())

    @property
    def subscriptions(self) -> tuple[tuple[str, str], ...]:
        """Return the stream and the consumer group of each subscriber, sorted."""
        return tuple(sorted((each.stream, each.group) for each in self._bus_subscribers()))

    def publish(
        self,
        message: Any,
        stream: str,
        *,
        correlation_id: str | None = None,
        headers: Mapping[str, Any] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Coroutine[Any, Any, str]:
        """Append a message to a stream and return its id.

        Args:
            message: a pydantic model, a dataclass, a JSON value, or bytes.
            stream: the short name.
            correlation_id: defaults to that of the message being handled, else to a new one.
            headers: further fields, as text.
            timeout_s: how long to wait for room, or for the bus to come back.

        Raises:
            BusError: the stream stayed full (E4004), or the bus away (E4001), for `timeout_s`.
        """
        if not self._own_config.broker_middlewares:
            return self._bus_producer.append(
                message, stream, correlation_id=correlation_id, headers=headers, timeout_s=timeout_s
            )
        command = BusCommand(
            message, stream, correlation_id=correlation_id, headers=headers, timeout_s=timeout_s
        )
        return self._basic_publish(command, producer=self._bus_producer)

    async def request(self, message: Any, queue: str, /, timeout: float = 0.5) -> Any:
        """Refuse: a stream has no answer."""
        raise FeatureNotSupportedException("streams have no replies; use ComponentContext.call")

    def include_router(self, router: Registrator[Any, Any], **options: Any) -> None:
        """Include a router; one of FastStream's Redis routers is adopted, with our delivery.

        So is one of its Redis brokers, which connects to nothing from here on. What has been adopted already
        is passed over, so that it can be included again when it has got more handlers.

        Raises:
            BusError: a foreign router subscribes to something that is not a stream (E4003).
        """
        if isinstance(router, BusRegistrator):
            super().include_router(router, **options)
            return
        for adopted in adopt(router, self.publish, make_router=BusRouter, known=self._adopted):
            super().include_router(adopted, **options)
        if isinstance(router, BrokerUsecase):
            stand_in(router, self.publish, self.ping)

    async def start(self) -> None:
        """Begin to consume.

        Raises:
            ComponentError: two subscribers would take messages from each other (E5001).
            BusError: the bus does not answer (E4001) or refuses.
        """
        self._refuse_rivals()
        await self.connect()
        await super().start()

    async def drain(self, timeout_s: float) -> DrainReport:
        """Take nothing new and let handlers finish, at most `timeout_s`; give back the rest."""
        reports = await asyncio.gather(*(each.drain(timeout_s) for each in self._bus_subscribers()))
        return sum(reports, DrainReport())

    async def ping(self, timeout: float | None = 3.0) -> bool:
        """Return whether the bus answers in time."""
        try:
            async with asyncio.timeout(timeout):
                await self._transport.ping()
        except (BusError, TimeoutError):
            return False
        return True

    async def _connect(self) -> StreamTransport:
        return self._transport

    def _bus_subscribers(self) -> list[BusSubscriber]:
        return [each for each in self.subscribers if isinstance(each, BusSubscriber)]

    def _refuse_rivals(self) -> None:
        seen: set[tuple[str, str]] = set()
        for stream, group in self.subscriptions:
            if (stream, group) in seen:
                raise ComponentError(
                    f"two subscribers of stream '{stream}' in group '{group}'",
                    why="replicas of a component compete, so each message would reach only one of the two",
                    fix="call both from one handler",
                    code="E5001",
                )
            seen.add((stream, group))


class FailureLog:
    """Logs failed deliveries as E5007."""

    def __init__(self, logger: logging.Logger, *, component: str, node: str) -> None:
        self._logger = logger
        self._component = component
        self._names = {"component": component, "node": node}

    def __call__(self, failure: Failure) -> None:
        """Log one failed delivery; with the traceback, where the message is given up."""
        error = ComponentError(
            f"a handler of '{self._component}' failed",
            why=f"{type(failure.error).__name__}: {failure.error}",
            code="E5007",
        )
        dead = failure.retry_in_s is None
        extra = {
            **self._names,
            "stream": failure.stream,
            "entry": failure.entry_id,
            "deliveries": failure.deliveries,
            "retry_in_s": failure.retry_in_s,
            "error": str(error),
            "detail": "".join(traceback.format_exception(failure.error)),
        }
        if dead:
            self._logger.error("message.dead", extra=extra)
        else:
            self._logger.warning("message.failed", extra=extra)


class _QuietLogger(LoggerState):
    """Gives handlers the replica's logger; FastStream's own lines for each message are not written.

    What fails is reported once, by the delivery loop.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__()
        self.logger = RealLoggerObject(logger)

    def log(self, *_args: Any, **_kwargs: Any) -> None:
        """Say nothing."""


def _describe(transport: StreamTransport) -> BrokerSpec:
    return BrokerSpec(
        url=[transport.url],
        protocol=transport.kind,
        protocol_version=None,
        description=None,
        tags=(),
        security=None,
    )
