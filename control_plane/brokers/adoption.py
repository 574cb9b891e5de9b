"""Takes over the handlers of a FastStream Redis router or broker, by the names of their streams.

Works by shape, without importing `faststream.redis`. Handlers keep their filters, dependencies and
middlewares; group, consumer, acknowledgement and retries are ours. What is no stream is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from faststream._internal.broker.registrator import Registrator

from contracts.errors import BusError

Publish = Callable[..., Awaitable[str]]


def adopt(
    foreign: Registrator[Any, Any], publish: Publish, *, make_router: Callable[..., Any], known: list[Any]
) -> list[Registrator[Any, Any]]:
    """Return one of our routers for each subscriber and publisher of a foreign router, unless it is known.

    The foreign publishers publish through ours from here on; to a stream that is named in the call,
    through `publish`.

    Raises:
        BusError: it subscribes or publishes to a channel or a list, or consumes in batches (E4003).
    """
    subscribers = [(each, _subscribed_stream(each)) for each in _new(foreign.subscribers, known)]
    publishers = [(each, _published_stream(each)) for each in _new(foreign.publishers, known)]
    known += [endpoint for endpoint, _ in (*subscribers, *publishers)]
    routers = []
    for publisher, stream in publishers:
        routers.append(_router_like(publisher, make_router))
        _redirect(publisher, routers[-1].publisher(stream), publish)
    for subscriber, stream in subscribers:
        routers.append(_router_like(subscriber, make_router))
        _register(subscriber, stream, routers[-1])
    return routers


def stand_in(foreign: Any, publish: Publish, ping: Callable[..., Awaitable[bool]]) -> None:
    """Let a foreign broker that was adopted connect to nothing: what its users ask of it is done by ours."""

    async def publish_here(
        message: Any = None,
        channel: str | None = None,
        *,
        stream: str | None = None,
        headers: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        **_redis_options: Any,
    ) -> str:
        if stream is None:
            raise _refusal(f"publishes to {channel or 'a list'}, which is no stream", "name a stream")
        return await publish(message, stream, headers=headers, correlation_id=correlation_id)

    async def nothing(*_args: Any, **_kwargs: Any) -> None:
        """Be started and stopped, or rather not: ours is."""

    async def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise _refusal("publishes a batch, or asks for an answer", "publish one message at a time")

    foreign.publish, foreign.ping = publish_here, ping
    foreign.publish_batch = foreign.request = refuse
    foreign.connect = foreign.start = foreign.stop = nothing


def _new(endpoints: Iterable[Any], known: Iterable[Any]) -> list[Any]:
    seen = set(map(id, known))
    return [endpoint for endpoint in endpoints if id(endpoint) not in seen]


def _router_like(endpoint: Any, make_router: Callable[..., Any]) -> Any:
    outer = endpoint._outer_config
    return make_router(
        dependencies=tuple(outer.broker_dependencies), middlewares=tuple(outer.broker_middlewares)
    )


def _register(foreign: Any, stream: str, router: Any) -> None:
    subscriber = router.subscriber(stream, concurrency=getattr(foreign, "max_workers", 1))
    for call in foreign.calls:
        handler = subscriber(call.handler._declared_call, filter=call.filter, dependencies=call.dependencies)
        for publisher in call.handler._publishers:
            handler = router.publisher(_published_stream(publisher))(handler)


def _redirect(foreign: Any, ours: Any, publish: Publish) -> None:
    async def publish_here(
        message: Any = None,
        stream: str | None = None,
        reply_to: str = "",
        headers: Mapping[str, Any] | None = None,
        correlation_id: str | None = None,
        **_redis_options: Any,
    ) -> str:
        if stream is not None:
            return await publish(message, stream, headers=headers, correlation_id=correlation_id)
        entry_id: str = await ours.publish(message, headers=headers, correlation_id=correlation_id)
        return entry_id

    foreign.publish = publish_here


def _subscribed_stream(subscriber: Any) -> str:
    stream = _stream(subscriber, "stream_sub", "subscribes")
    if stream.batch:
        raise _refusal(f"subscribes to stream '{stream.name}' in batches", "take one message at a time")
    name: str = stream.name
    return name


def _published_stream(publisher: Any) -> str:
    name: str = _stream(publisher, "stream", "publishes").name
    return name


def _stream(endpoint: Any, attribute: str, does: str) -> Any:
    stream = getattr(endpoint, attribute, None)
    if stream is None:
        raise _refusal(
            f"{does} to something that is not a stream ({type(endpoint).__name__})", "name a stream"
        )
    return stream


def _refusal(does: str, fix: str) -> BusError:
    return BusError(
        f"the router {does}",
        why="channels, lists and batches have no retries and no dead letters; the bus delivers at least once",
        fix=fix,
        code="E4003",
    )
