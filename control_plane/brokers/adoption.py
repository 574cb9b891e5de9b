"""Takes over the handlers of a FastStream Redis router or broker, by the names of their streams.

Works by shape, without importing `faststream.redis`. Handlers keep their filters, dependencies and
middlewares; group, consumer, acknowledgement and retries are ours. What is no stream is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from faststream._internal.broker.registrator import Registrator
from faststream._internal.producer import ProducerProto

from contracts.errors import BusError


def adopt(
    foreign: Registrator[Any, Any], producer: ProducerProto[Any], *, make_router: Callable[..., Any]
) -> Iterator[Registrator[Any, Any]]:
    """Make one of our routers for each subscriber of a foreign router; its publishers publish through us.

    Raises:
        BusError: it subscribes or publishes to a channel or a list, or consumes in batches (E4003).
    """
    publishers: list[Any] = list(foreign.publishers)
    for publisher in publishers:
        _stream_name(publisher, "stream", "publishes")
    subscribers = [(subscriber, _subscribed_stream(subscriber)) for subscriber in foreign.subscribers]
    for publisher in publishers:
        publisher.producer = producer
        publisher.start = _nothing_to_start  # its own start would connect to a broker it does not have
    for subscriber, stream in subscribers:
        outer = subscriber._outer_config
        router = make_router(
            dependencies=tuple(outer.broker_dependencies), middlewares=tuple(outer.broker_middlewares)
        )
        _register(
            subscriber, router.subscriber(stream, concurrency=getattr(subscriber, "max_workers", 1)), router
        )
        yield router


def _register(foreign: Any, subscriber: Any, router: Any) -> None:
    for call in foreign.calls:
        handler = subscriber(call.handler._declared_call, filter=call.filter, dependencies=call.dependencies)
        for publisher in call.handler._publishers:
            handler = router.publisher(_stream_name(publisher, "stream", "publishes"))(handler)


def _subscribed_stream(subscriber: Any) -> str:
    name = _stream_name(subscriber, "stream_sub", "subscribes")
    if subscriber.stream_sub.batch:
        raise _refusal(f"subscribes to stream '{name}' in batches", "take one message at a time")
    return name


def _stream_name(endpoint: Any, attribute: str, does: str) -> str:
    stream = getattr(endpoint, attribute, None)
    if stream is None:
        raise _refusal(
            f"{does} to something that is not a stream ({type(endpoint).__name__})", "name a stream"
        )
    name: str = stream.name
    return name


def _refusal(does: str, fix: str) -> BusError:
    return BusError(
        f"the router {does}",
        why="channels and lists lose messages when nobody listens; the bus delivers at least once",
        fix=fix,
        code="E4003",
    )


async def _nothing_to_start() -> None:
    pass
