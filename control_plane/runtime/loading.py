"""Turns `use = "module:attribute"`, or `command`, into a component class or factory.

What is no component is adapted to the protocol by its kind. Every failure is a `ComponentError` or
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
from contracts.specs import ComponentSpec, Kind
from control_plane.runtime.kinds import find_kind

Factory = Callable[[ComponentContext], Component]

PROGRAM_ADAPTER = "components.adapters.programs:ProgramAdapter"
ADAPTERS = {
    Kind.ASGI: "components.adapters.asgi:AsgiAdapter",
    Kind.WSGI: "components.adapters.wsgi:WsgiAdapter",
    Kind.FASTSTREAM: "components.adapters.faststream_app:FastStreamAdapter",
    Kind.OBJECT: "components.adapters.objects:ObjectAdapter",
    Kind.TASK: "components.adapters.tasks:TaskAdapter",
    Kind.LAUNCHER: "components.adapters.launchers:LauncherAdapter",
}
CALLED = "components.adapters.arguments:called"
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
    if spec.command:
        program = _adapter(PROGRAM_ADAPTER)
        return lambda context: cast("Component", program(context, None, spec))
    return _as_factory(load_target(spec), spec)


def load_target(spec: ComponentSpec) -> Any:
    """Import what the component's `use` names.

    Raises:
        LaunchError: the module is not there (E2002), lacks the attribute (E2003), or raises (E2004).
    """
    module_name, _, attribute = spec.use.partition(":")
    target = _import_module(spec, module_name)
    for part in attribute.split("."):
        target = _attribute_of(target, part, spec)
    return target


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
    if will_be_called(target, spec):
        return _made_by(target, spec)
    kind = _kind_of(target, spec)
    if kind is None:
        raise nothing_to_host(target, spec)
    return _adapted(target, kind, spec)


def will_be_called(target: Any, spec: ComponentSpec) -> bool:
    """Tell whether what `use` names makes what is to run: a plain function, or where it is said so."""
    return spec.factory or (_kind_of(target, spec) is None and inspect.isroutine(target))


def _kind_of(target: Any, spec: ComponentSpec) -> Kind | None:
    found = find_kind(target, run=spec.run)
    return spec.kind or (found.kind if found else None)


def _adapted(target: Any, kind: Kind, spec: ComponentSpec) -> Factory:
    if spec.adopt_bus and kind is not Kind.FASTSTREAM:
        raise LaunchError(
            f"component '{spec.name}': `adopt_bus` is for a FastStream application, and '{spec.use}' is none",
            why=f"it is hosted as '{kind}'",
            fix="take the line out",
            code="E2005",
        )
    if kind is Kind.COMPONENT:
        return cast("Factory", target if inspect.isclass(target) else lambda _context: target)
    adapter = _adapter(ADAPTERS[kind])
    return lambda context: cast("Component", adapter(context, target, spec))


def _adapter(path: str) -> Any:
    module_name, _, name = path.partition(":")
    return getattr(importlib.import_module(module_name), name)


def _made_by(make: Callable[..., Any], spec: ComponentSpec) -> Factory:
    called = _adapter(CALLED)

    def build(context: ComponentContext) -> Component:
        made = make(context) if _wants_context(make, spec) else called(make, context)
        kind = _kind_of(made, spec)
        if inspect.isawaitable(made) or kind is None:
            raise nothing_to_host(made, spec)
        return _adapted(made, kind, spec)(context)

    return build


def _wants_context(make: Callable[..., Any], spec: ComponentSpec) -> bool:
    """Tell whether a factory is one of the protocol: all it needs is the context, by whatever name."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [each for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    return len(needed) == 1 and needed[0].name not in spec.config


def nothing_to_host(target: Any, spec: ComponentSpec) -> LaunchError:
    """Return the error about what is of no kind (E2005)."""
    made = "what it returns is" if spec.factory or inspect.isroutine(target) else "it is"
    return LaunchError(
        f"component '{spec.name}': '{spec.use}' is nothing that can be hosted",
        why=f"{made} {_described(target)}",
        fix="name a component, an ASGI or WSGI application, an object with `start`, or a coroutine function; "
        "where it is one, say `kind`",
        code="E2005",
    )


def _described(target: Any) -> str:
    if inspect.isclass(target):
        return f"the class {target.__name__}"
    return f"of the class {type(target).__name__}"


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
