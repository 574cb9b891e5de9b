"""Turns `use = "module:attribute"` into a component class or factory.

What the attribute is, is found out from its shape. Every failure is a `ComponentError` or
`LaunchError` that a restart would not mend, with the user's own traceback and none of ours.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from contracts.component import Component, ComponentContext
from contracts.errors import ComponentError, LaunchError, did_you_mean
from contracts.specs import ComponentSpec

Factory = Callable[[ComponentContext], Component]

ASGI_ADAPTER = "components.adapters.asgi:AsgiAdapter"
_LIFECYCLE = ("startup", "shutdown", "get_routes", "health_check")
_OURS = str(Path(__file__).resolve().parent.parent)


def users_traceback(exc: BaseException) -> str:
    """Format an exception without the frames of this package and of the import machinery."""
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen importlib")) and "/importlib/" not in frame.filename
    ]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)] if frames else []
    return "".join([*lines, *traceback.format_exception_only(exc)]).rstrip()


def load_factory(spec: ComponentSpec) -> Factory:
    """Import what the component's `use` names and return how to construct it.

    Raises:
        LaunchError: the module is not there (E2002), lacks the attribute (E2003), raises on import
            (E2004), or what it names is no component (E2005).
    """
    module_name, _, attribute = spec.use.partition(":")
    module = _import_module(spec, module_name)
    target: Any = module
    for part in attribute.split("."):
        target = _attribute_of(target, part, spec)
    return _as_factory(target, spec)


def _import_module(spec: ComponentSpec, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (module_name == exc.name or module_name.startswith(exc.name + ".")):
            raise LaunchError(
                f"component '{spec.name}': no module named '{exc.name}'",
                why=f"its `use` is '{spec.use}'",
                fix="check the spelling, and that the module lies below the folder of the configuration file",
                code="E2002",
            ) from exc
        raise _import_failure(spec, module_name, exc) from exc
    except (Exception, SystemExit) as exc:
        raise _import_failure(spec, module_name, exc) from exc


def _import_failure(spec: ComponentSpec, module_name: str, exc: BaseException) -> LaunchError:
    return LaunchError(
        f"component '{spec.name}': importing '{module_name}' raised {type(exc).__name__}: {exc}",
        fix="mend the module; it was not retried, because an import fails the same way every time",
        code="E2004",
        detail=users_traceback(exc),
    )


def _attribute_of(target: Any, part: str, spec: ComponentSpec) -> Any:
    try:
        return getattr(target, part)
    except AttributeError as exc:
        public = (
            [name for name in vars(target) if not name.startswith("_")] if hasattr(target, "__dict__") else []
        )
        raise LaunchError(
            f"component '{spec.name}': '{spec.use}' has no attribute '{part}'",
            fix=did_you_mean(part, public),
            code="E2003",
        ) from exc


def _as_factory(target: Any, spec: ComponentSpec) -> Factory:
    if inspect.isclass(target) and all(callable(getattr(target, name, None)) for name in _LIFECYCLE):
        return cast("Factory", target)
    if is_asgi_app(target):
        return _adapted(target)
    if inspect.isroutine(target) and not inspect.iscoroutinefunction(target):
        return _checked(target, spec)
    raise _no_component(target, spec)


def is_asgi_app(target: Any) -> bool:
    """Tell whether an object is an ASGI application: an async callable of scope, receive and send."""
    if inspect.isclass(target) or not callable(target):
        return False
    call = target if inspect.isroutine(target) else type(target).__call__
    if not inspect.iscoroutinefunction(call):
        return False
    required = [p for p in inspect.signature(call).parameters.values() if p.default is p.empty]
    return len(required) - (not inspect.isroutine(target)) == 3


def _adapted(app: Any) -> Factory:
    module_name, _, name = ASGI_ADAPTER.partition(":")
    adapter = getattr(importlib.import_module(module_name), name)
    return lambda context: adapter(context, app)


def _checked(factory: Callable[[ComponentContext], Any], spec: ComponentSpec) -> Factory:
    def build(context: ComponentContext) -> Component:
        made = factory(context)
        if not isinstance(made, Component):
            raise _no_component(made, spec)
        return made

    return build


def _no_component(target: Any, spec: ComponentSpec) -> LaunchError:
    missing = [name for name in _LIFECYCLE if not callable(getattr(target, name, None))]
    return LaunchError(
        f"component '{spec.name}': '{spec.use}' is no component",
        why=f"it is a {type(target).__name__} without {', '.join(missing)}",
        fix="name a class with the component protocol, a factory of one, or an ASGI application",
        code="E2005",
    )


def validated_config(factory: Factory, spec: ComponentSpec) -> Any:
    """Validate the component's `config` table by its own `Config` model, where it has one.

    Raises:
        ComponentError: E5001, with the path of every field that is wrong.
    """
    model = getattr(factory, "Config", None)
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        return dict(spec.config)
    try:
        return model.model_validate(spec.config)
    except ValidationError as exc:
        problems = "; ".join(
            f"`components.{spec.name}.config.{'.'.join(str(part) for part in error['loc'])}`: {error['msg']}"
            for error in exc.errors()
        )
        raise ComponentError(
            f"component '{spec.name}': its configuration is not valid", why=problems, code="E5001"
        ) from exc
