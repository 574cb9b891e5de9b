"""Calls what a user wrote with what it asks for: the context, and the values of its `config` table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from contracts import ComponentContext
from contracts.errors import ComponentError, did_you_mean

CONTEXT_NAMES = ("context", "ctx")


def called(target: Callable[..., Any], context: ComponentContext) -> Any:
    """Call a class or function and return what it returns.

    A parameter called `context`, or annotated as `ComponentContext`, gets the context; every other one the
    value of its name in the component's `config` table.

    Raises:
        ComponentError: a parameter has no value, or a value no parameter (E5001).
    """
    values = dict(context.config) if isinstance(context.config, Mapping) else {}
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # written in C: it is called with what there is
        return target(**values)
    given = {each.name: context for each in parameters if _wants_context(each)}
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    named = {each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)}
    for name in values:
        if name not in named and not takes_any:
            raise _refused(context, f"`config.{name}` is not an argument", target, did_you_mean(name, named))
    given = {**values, **given}
    for each in parameters:
        if each.name not in given and each.default is each.empty and each.name in named:
            fix = f"give it as `config = {{ {each.name} = ... }}`, or a default"
            raise _refused(context, f"the argument '{each.name}' has no value", target, fix)
    positional = [given.pop(each.name) for each in parameters if each.kind is each.POSITIONAL_ONLY]
    return target(*positional, **given)


def _wants_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return parameter.name in CONTEXT_NAMES or name.rpartition(".")[2] == ComponentContext.__name__


def _refused(context: ComponentContext, what: str, target: Callable[..., Any], fix: str) -> ComponentError:
    name = getattr(target, "__qualname__", repr(target))
    return ComponentError(f"component '{context.name}': {what} of {name}", fix=fix, code="E5001")
