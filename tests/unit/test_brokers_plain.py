"""Which handlers are called without FastStream's dispatch: those that would not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import wraps
from inspect import signature
from typing import Annotated, Any

import pytest
from fast_depends import Depends
from fast_depends.exceptions import ValidationError
from faststream import BaseMiddleware, Context
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, create_model

from control_plane.brokers import BusBroker, open_transport
from control_plane.brokers.messages import decode_message, parse_message
from control_plane.brokers.plain import PlainCall, plain_call

pytestmark = pytest.mark.anyio


class Chapter(BaseModel):
    number: int


def twice() -> int:
    return 2


async def model(chapter: Chapter) -> None: ...
async def anything(payload: Any) -> None: ...
def blocking(chapter: Chapter) -> None: ...
async def depending(chapter: Chapter, factor: Annotated[int, Depends(twice)]) -> None: ...
async def in_context(chapter: Chapter, logger: Annotated[Any, Context()]) -> None: ...
async def fields(number: int, title: str) -> None: ...
async def rest(*payload: Any) -> None: ...
async def named(**payload: Any) -> None: ...
async def by_name(*, chapter: Chapter) -> None: ...
async def nothing() -> None: ...


async def test_a_handler_has_the_mock_that_faststreams_tests_look_at() -> None:
    broker = BusBroker(
        app="app", component="editor", replica="editor-1", transport=await open_transport("memory://")
    )
    handler = broker.subscriber("chapters")(model)
    handler.set_test()
    handler.mock.assert_not_called()


@asynccontextmanager
async def subscribed(register: Callable[[BusBroker], Any]) -> AsyncIterator[PlainCall | None]:
    """Give what calls the handler that was registered, once the broker has started."""
    transport = await open_transport("memory://")
    broker = BusBroker(app="app", component="editor", replica="editor-1", transport=transport)
    register(broker)
    await broker.start()
    try:
        (subscriber,) = broker.subscribers
        yield plain_call(subscriber, parser=parse_message, decoder=decode_message)
    finally:
        await broker.stop()
        await transport.close()


@pytest.mark.parametrize("handler", [model, anything, blocking, by_name])
async def test_a_handler_of_its_message_alone_is_called_with_it(handler: Any) -> None:
    async with subscribed(lambda broker: broker.subscriber("chapters")(handler)) as call:
        assert call is not None
        await call({"number": 3})


def signed_as_model(function: Any) -> Any:
    function.__signature__ = signature(model, eval_str=True)
    return function


@pytest.mark.parametrize("wrapped", [wraps(model), signed_as_model])
async def test_what_wraps_a_handler_gets_its_message_by_name_as_from_faststream(wrapped: Any) -> None:
    seen: list[Any] = []

    @wrapped
    async def logged(**arguments: Any) -> None:
        seen.append(arguments["chapter"].number)
        await model(**arguments)

    async with subscribed(lambda broker: broker.subscriber("chapters")(logged)) as call:
        assert call is not None
        await call({"number": 3})

    assert seen == [3]


async def test_what_it_is_called_with_is_validated() -> None:
    seen: list[Chapter] = []

    async def take(chapter: Chapter) -> None:
        seen.append(chapter)

    async with subscribed(lambda broker: broker.subscriber("chapters")(take)) as call:
        assert call is not None
        await call({"number": "3"})
        with pytest.raises(ValidationError, match="number"):
            await call({"number": "three"})

    assert seen == [Chapter(number=3)]


@pytest.mark.parametrize(
    ("annotation", "payload"),
    [
        (
            Annotated[Chapter, AfterValidator(lambda chapter: chapter.model_copy(update={"number": 4}))],
            {"number": 3},
        ),
        (list[Chapter], [{"number": 4}]),
        (Annotated[int, Field(gt=3)], "4"),
        (Chapter | None, {"number": 4}),
    ],
)
async def test_whatever_it_is_annotated_with_is_what_it_gets(annotation: Any, payload: Any) -> None:
    seen: list[Any] = []

    async def take(chapter: Any) -> None:
        seen.append(chapter)

    take.__annotations__["chapter"] = annotation
    async with subscribed(lambda broker: broker.subscriber("chapters")(take)) as call:
        assert call is not None
        await call(payload)

    assert seen == [TypeAdapter(annotation).validate_python(payload)]


async def test_a_message_that_validates_itself_needs_no_model_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    def make(name: str, *args: Any, **kwargs: Any) -> Any:
        made.append(name)
        return create_model(name, *args, **kwargs)

    monkeypatch.setattr("fast_depends.pydantic.serializer.create_model", make)
    async with subscribed(lambda broker: broker.subscriber("chapters")(model)) as call:
        assert call is not None
        await call({"number": 3})
        assert not made
        with pytest.raises(ValidationError, match="number"):
            await call({"number": "three"})
        assert made == ["model"]
    async with subscribed(lambda broker: broker.subscriber("chapters")(depending)):
        assert "depending" in made


async def test_an_answer_where_there_should_be_none_is_noticed() -> None:
    async def take(chapter: Chapter) -> None:
        return chapter.number  # type: ignore[return-value]  # on purpose

    async with subscribed(lambda broker: broker.subscriber("chapters")(take)) as call:
        assert call is not None
        with pytest.raises(ValidationError, match="return"):
            await call({"number": 3})


async def test_an_alias_counts_as_it_does_for_faststream() -> None:
    async def take(chapter: Annotated[Chapter, Field(alias="draft")]) -> None: ...

    async with subscribed(lambda broker: broker.subscriber("chapters")(take)) as call:
        assert call is not None
        with pytest.raises(ValidationError):
            await call({"number": 3})


async def test_a_model_that_is_defined_later_is_dispatched() -> None:
    class Early(BaseModel):
        number: Later  # type: ignore[name-defined]  # noqa: F821  # on purpose

    async def take(early: Any) -> None: ...

    take.__annotations__["early"] = Early
    async with subscribed(lambda broker: broker.subscriber("chapters")(take)) as call:
        assert call is None


async def test_what_it_answers_is_validated_too() -> None:
    async def count(chapter: Chapter) -> int:
        return "many" if chapter.number else "0"  # type: ignore[return-value]  # on purpose

    async with subscribed(lambda broker: broker.subscriber("chapters")(count)) as call:
        assert call is not None
        assert await call({"number": 0}) == 0
        with pytest.raises(ValidationError, match="return"):
            await call({"number": 1})


async def test_an_answer_that_is_missing_is_noticed() -> None:
    async def count(chapter: Chapter) -> int: ...  # type: ignore[empty-body]  # on purpose

    async with subscribed(lambda broker: broker.subscriber("chapters")(count)) as call:
        assert call is not None
        with pytest.raises(ValidationError, match="return"):
            await call({"number": 1})


async def test_an_argument_that_no_model_can_name_is_handed_on() -> None:
    seen: list[Any] = []

    async def take(_: Any) -> None:
        seen.append(_)

    async with subscribed(lambda broker: broker.subscriber("chapters")(take)) as call:
        assert call is not None
        await call({"number": 3})

    assert seen == [{"number": 3}]


@pytest.mark.parametrize("handler", [depending, in_context, fields, rest, named, nothing])
async def test_a_handler_that_asks_for_more_is_dispatched(handler: Any) -> None:
    async with subscribed(lambda broker: broker.subscriber("chapters")(handler)) as call:
        assert call is None


@pytest.mark.parametrize(
    "register",
    [
        lambda broker: broker.subscriber("chapters")(model, filter=lambda message: True),
        lambda broker: broker.subscriber("chapters", dependencies=(Depends(twice),))(model),
        lambda broker: broker.publisher("drafts")(broker.subscriber("chapters")(model)),
        lambda broker: broker.subscriber("chapters")(model, decoder=lambda message: message.body),
        lambda broker: (broker.add_middleware(BaseMiddleware), broker.subscriber("chapters")(model)),
    ],
    ids=["filter", "dependency", "publisher", "decoder", "middleware"],
)
async def test_a_subscription_that_asks_for_more_is_dispatched(register: Any) -> None:
    async with subscribed(register) as call:
        assert call is None
