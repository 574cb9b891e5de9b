"""What of FastStream works on a `BusBroker`: it is a real broker, over every transport."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest
from faststream import BaseMiddleware, Context, Depends, StreamMessage
from faststream._internal.broker import BrokerUsecase
from faststream.exceptions import FeatureNotSupportedException
from pydantic import BaseModel

from contracts.errors import BusError, ComponentError
from control_plane.brokers import BusRouter, StreamTransport
from tests.conformance.broker.conftest import MakeBroker
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


class Chapter(BaseModel):
    number: int


class TestABroker:
    def test_is_a_faststream_broker_without_loading_faststream_redis(self) -> None:
        """The Redis parts of FastStream cost more than FastAPI; nothing of ours may pull them in."""
        check = (
            "import sys; from control_plane.brokers import BusBroker; "
            "import control_plane.brokers.redis_transport; "
            "sys.exit('faststream.redis' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0

    async def test_tells_its_subscriptions(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        router = BusRouter(prefix="draft-")

        @router.subscriber("pages", broadcast=True)
        async def read(page: dict[str, Any]) -> None: ...

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None: ...

        broker.include_router(router)
        assert isinstance(broker, BrokerUsecase)
        assert broker.subscriptions == (("chapters", "writer"), ("draft-pages", "writer.writer-1"))
        assert await broker.ping()

    async def test_refuses_two_subscribers_that_would_take_messages_from_each_other(
        self, make_broker: MakeBroker
    ) -> None:
        broker = make_broker()
        for _ in range(2):

            @broker.subscriber("chapters")
            async def write(chapter: Chapter) -> None: ...

        with pytest.raises(ComponentError, match="two subscribers of stream 'chapters'"):
            await broker.start()

    async def test_refuses_requests(self, make_broker: MakeBroker) -> None:
        with pytest.raises(FeatureNotSupportedException):
            await make_broker().request({}, "chapters")


class TestHandlers:
    async def test_get_dependencies_and_context(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        seen: list[tuple[int, str, str]] = []

        async def tone(message: Annotated[StreamMessage[Any], Context("message")]) -> str:
            return str(message.headers["tone"])

        @broker.subscriber("chapters")
        async def write(
            chapter: Chapter,
            tone: Annotated[str, Depends(tone)],
            correlation_id: Annotated[str, Context("message.correlation_id")],
        ) -> None:
            seen.append((chapter.number, tone, correlation_id))

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters", headers={"tone": "noir"}, correlation_id="c-1")
        await eventually(lambda: seen == [(1, "noir", "c-1")])

    async def test_publish_what_they_return(self, make_broker: MakeBroker) -> None:
        """The answer keeps the correlation id of its question."""
        broker = make_broker()
        seen: list[tuple[int, str]] = []

        @broker.publisher("drafts")
        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> Chapter:
            return Chapter(number=chapter.number + 1)

        @broker.subscriber("drafts")
        async def read(
            draft: Chapter, correlation_id: Annotated[str, Context("message.correlation_id")]
        ) -> None:
            seen.append((draft.number, correlation_id))

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters", correlation_id="c-1")
        await eventually(lambda: seen == [(2, "c-1")])

    @pytest.mark.parametrize(
        "payload", ["text", 1, 1.5, None, True, [1, "two"], {"ö": "ü"}, b"plain", b"\xff\x00"], ids=repr
    )
    async def test_get_what_was_published(self, payload: Any, make_broker: MakeBroker) -> None:
        broker = make_broker()
        seen: list[Any] = []

        @broker.subscriber("anything")
        async def take(message: Annotated[StreamMessage[Any], Context("message")]) -> None:
            seen.append(await message.decode())

        await broker.start()
        await broker.publish(payload, "anything")
        await eventually(lambda: seen)
        assert seen == [payload]

    async def test_never_share_an_object_with_the_publisher(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        seen: list[dict[str, list[int]]] = []

        @broker.subscriber("anything")
        async def take(message: dict[str, list[int]]) -> None:
            seen.append(message)

        await broker.start()
        payload = {"numbers": [1]}
        await broker.publish(payload, "anything")
        payload["numbers"].append(2)
        await eventually(lambda: seen == [{"numbers": [1]}])


class TestMessagesThatBelongTogether:
    async def test_a_handler_hands_on_correlation_and_trace(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        broker = make_broker()

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            await broker.publish(chapter, "drafts")

        await broker.start()
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        fields = {"data": '{"number":1}', "correlation_id": "c-1", "traceparent": trace}
        await transport.append("novel:bus:chapters", fields, max_len=10, keep=1)
        (draft,) = await eventually(lambda: transport.range("novel:bus:drafts"))
        assert (draft.fields["correlation_id"], draft.fields["traceparent"]) == ("c-1", trace)
        assert (draft.fields["component"], draft.fields["replica"]) == ("writer", "writer-1")

    async def test_an_entry_written_by_hand_starts_a_chain_of_its_own(
        self, make_broker: MakeBroker, transport: StreamTransport
    ) -> None:
        """Its id stands in for a correlation id."""
        broker = make_broker()
        seen: list[str] = []

        @broker.subscriber("chapters")
        async def write(
            chapter: Chapter, correlation_id: Annotated[str, Context("message.correlation_id")]
        ) -> None:
            seen.append(correlation_id)

        await broker.start()
        entry_id = await transport.append("novel:bus:chapters", {"data": '{"number":1}'}, max_len=10, keep=1)
        await eventually(lambda: seen == [entry_id])


class Recorder(BaseMiddleware):
    """Notes what passes."""

    seen: list[str]

    async def consume_scope(self, call_next: Callable[[Any], Awaitable[Any]], msg: StreamMessage[Any]) -> Any:
        self.seen.append("consume")
        return await call_next(msg)

    async def publish_scope(self, call_next: Callable[[Any], Awaitable[Any]], cmd: Any) -> Any:
        self.seen.append(f"publish {cmd.destination}")
        return await call_next(cmd)


class TestRoutersAndMiddlewares:
    async def test_a_middleware_sees_what_is_published_and_consumed(self, make_broker: MakeBroker) -> None:
        broker = make_broker()
        recorder = type("Seen", (Recorder,), {"seen": []})
        broker.add_middleware(recorder)

        @broker.subscriber("chapters")
        async def write(chapter: Chapter) -> None: ...

        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        await eventually(lambda: recorder.seen == ["publish chapters", "consume"])

    async def test_a_router_brings_its_own(self, make_broker: MakeBroker) -> None:
        """Prefix, dependencies and middlewares are those of the router, nested ones included."""
        broker = make_broker()
        recorder = type("Seen", (Recorder,), {"seen": []})
        ran: list[str] = []
        inner = BusRouter(prefix="inner-", dependencies=[Depends(lambda: ran.append("dependency"))])
        outer = BusRouter(prefix="outer-", middlewares=[recorder], routers=[inner])
        publisher = inner.publisher("answers")

        @inner.subscriber("chapters")
        async def write(chapter: Chapter) -> None:
            ran.append("handler")
            await publisher.publish(chapter)

        broker.include_router(outer)
        await broker.start()
        await broker.publish(Chapter(number=1), "outer-inner-chapters")
        await eventually(lambda: recorder.seen == ["consume", "publish outer-inner-answers"])
        assert ran == ["dependency", "handler"]


class TestAForeignRedisRouter:
    async def test_is_adopted_by_the_names_of_its_streams(self, make_broker: MakeBroker) -> None:
        """Handlers, filters, dependencies, middlewares and both kinds of publishers go on working."""
        from faststream.redis import RedisRouter, StreamSub

        recorder = type("Seen", (Recorder,), {"seen": []})
        router = RedisRouter(middlewares=[recorder])
        direct = router.publisher(stream="notes")
        seen: list[Any] = []

        @router.subscriber(stream=StreamSub("chapters", group="old", consumer="old-1"))
        @router.publisher(stream="drafts")
        async def write(chapter: Chapter, twice: Annotated[int, Depends(lambda: 2)]) -> Chapter:
            await direct.publish({"note": chapter.number})
            return Chapter(number=chapter.number * twice)

        broker = make_broker()
        broker.include_router(router)

        @broker.subscriber("drafts")
        async def read(draft: Chapter) -> None:
            seen.append(draft.number)

        @broker.subscriber("notes")
        async def note(message: dict[str, int]) -> None:
            seen.append(message)

        await broker.start()
        assert ("chapters", "writer") in broker.subscriptions
        await broker.publish(Chapter(number=21), "chapters")
        await eventually(lambda: len(seen) == 2)
        assert {"note": 21} in seen
        assert 42 in seen
        assert "consume" in recorder.seen

    async def test_keeps_our_delivery(self, make_broker: MakeBroker, transport: StreamTransport) -> None:
        """Its own broker would drop a failed message; ours retries it."""
        from faststream.redis import RedisRouter

        router = RedisRouter()
        tries: list[int] = []

        @router.subscriber(stream="chapters")
        async def write(chapter: Chapter) -> None:
            tries.append(chapter.number)
            if len(tries) == 1:
                raise RuntimeError("not yet")

        broker = make_broker()
        broker.include_router(router)
        await broker.start()
        await broker.publish(Chapter(number=1), "chapters")
        await eventually(lambda: tries == [1, 1])

    @pytest.mark.parametrize("kind", ["channel", "list", "batch", "publisher"])
    async def test_that_uses_no_stream_is_refused(self, kind: str, make_broker: MakeBroker) -> None:
        """Before anything of it is registered."""
        from faststream.redis import ListSub, RedisRouter, StreamSub

        router = RedisRouter()
        endpoint: Any = {
            "channel": lambda: router.subscriber("chapters"),
            "list": lambda: router.subscriber(list=ListSub("chapters")),
            "batch": lambda: router.subscriber(stream=StreamSub("chapters", batch=True)),
            "publisher": lambda: router.publisher(list="chapters"),
        }[kind]()

        @endpoint
        async def write(chapter: Any) -> None: ...

        broker = make_broker()
        with pytest.raises(BusError, match="E4003 the router"):
            broker.include_router(router)
        assert broker.subscriptions == ()
