"""Handlers that ask nothing of FastStream but their message, called without its dispatch.

Middlewares, filters, dependencies, contexts and publishers need the whole of it: two thirds of what a message
costs in this process. Most handlers have none of these. Validation is FastStream's own all the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import unwrap
from types import FunctionType, MethodType, NoneType
from typing import Any

from faststream._internal.endpoint.subscriber import SubscriberUsecase
from faststream._internal.endpoint.subscriber.utils import default_filter
from pydantic import BaseModel, ValidationError

from control_plane.brokers.argument_models import lone_model

PlainCall = Callable[[Any], Awaitable[Any]]


def plain_call(subscriber: SubscriberUsecase[Any], *, parser: Any, decoder: Any) -> PlainCall | None:
    """Return what calls a subscriber's handler with a decoded payload; None where that is not all of it.

    Args:
        subscriber: one that has been started, so that its handlers are composed.
        parser, decoder: what is used where nobody asks for others.
    """
    if len(subscriber.calls) != 1 or subscriber._outer_config.broker_middlewares:
        return None
    (item,) = subscriber.calls
    if unwrap(item.filter) is not default_filter or item.parser is not parser or item.decoder is not decoder:
        return None
    handler = item.handler
    if handler._publishers or handler._composed_call is not handler._declared_call:
        return None
    return _of_model(item.dependant)


def _of_model(model: Any) -> PlainCall | None:
    names = (*model.positional_args, *model.keyword_args)
    asks_for_more = model.dependencies or model.extra_dependencies or model.custom_fields
    if asks_for_more or len(names) != 1 or model.args_name or model.kwargs_name or model.is_generator:
        return None
    (name,), serializer = names, model.serializer
    call = _by_position(model.call, name) if model.positional_args else _by_name(model.call, name)
    if serializer is None:
        return call
    kind = lone_model(serializer.options[name])
    if kind is None and not serializer.model.__pydantic_complete__:
        return None  # what it is annotated with is defined later
    validate = kind.__pydantic_validator__.validate_python if kind else _validator(serializer.model, name)
    returns_nothing = serializer.response_option["return"].field_type in (None, NoneType)

    async def validated(payload: Any) -> Any:
        if validate is not None:
            try:
                payload = validate(payload)
            except ValidationError:
                payload = serializer({name: payload})[name]  # raises it as FastStream would
        result = await call(payload)
        return result if result is None and returns_nothing else serializer.response(result)

    return validated


def _by_position(handler: Callable[..., Any], name: str) -> PlainCall:
    """Return what hands a handler its argument by position, which is quicker, where it cannot tell."""
    is_function = isinstance(handler, FunctionType | MethodType)
    stands_for_another = hasattr(handler, "__wrapped__") or hasattr(handler, "__signature__")
    return handler if is_function and not stands_for_another else _by_name(handler, name)


def _by_name(handler: Callable[..., Any], name: str) -> PlainCall:
    return lambda payload: handler(**{name: payload})


def _validator(arguments: type[BaseModel], name: str) -> Callable[[Any], Any] | None:
    """Return what validates one argument as the model of all arguments does."""
    if name not in arguments.model_fields:
        return None  # a name that a pydantic model cannot have
    validate = arguments.__pydantic_validator__.validate_python
    return lambda payload: getattr(validate({name: payload}), name)
