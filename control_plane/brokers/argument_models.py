"""The pydantic models of handlers' arguments, made when they are first needed where that is safe.

FastStream has a model made of the arguments of each handler when its broker starts. A message that is the
only argument validates itself; the model around it is needed for the words of a refusal, if ever.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from inspect import Parameter
from types import NoneType
from typing import Any

from fast_depends.library.serializer import OptionItem, Serializer
from fast_depends.pydantic import PydanticSerializer
from pydantic import BaseModel

_NOTHING = (None, NoneType, Parameter.empty)


class ArgumentModels(PydanticSerializer):
    """Gives each handler what validates its arguments."""

    def __call__(self, *, name: str, options: list[OptionItem], response_type: Any) -> Any:
        """Return it; it is made later where the only argument is a message that validates itself."""

        def make() -> Any:
            return super(ArgumentModels, self).__call__(
                name=name, options=options, response_type=response_type
            )

        if len(options) == 1 and lone_model(options[0]) and response_type in _NOTHING:
            return _Deferred(make, name=name, options=options)
        return make()


class _Deferred(Serializer):
    """Stands for what `make` returns, and does without it as long as it can."""

    def __init__(self, make: Callable[[], Any], *, name: str, options: list[OptionItem]) -> None:
        super().__init__(name=name, options=options, response_type=None)
        self._make = make

    def get_aliases(self) -> tuple[str, ...]:
        """Return the names by which the arguments are given."""
        return tuple(self.options)

    def __call__(self, call_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return validated arguments."""
        validated: dict[str, Any] = self._made(call_kwargs)
        return validated

    def response(self, value: Any) -> Any:
        """Return a validated result."""
        return self._made.response(value)

    @property
    def model(self) -> type[BaseModel]:
        """Return the model of all arguments."""
        model: type[BaseModel] = self._made.model
        return model

    @cached_property
    def _made(self) -> Any:
        return self._make()


def lone_model(argument: OptionItem) -> type[BaseModel] | None:
    """Return the model that an argument is annotated with and nothing else, if it is whole."""
    kind = argument.field_type
    is_model = isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__pydantic_complete__
    plain = is_model and argument.default_value is ... and argument.source is None
    return kind if plain and not argument.field_name.startswith("_") else None
