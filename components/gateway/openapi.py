"""Merges the components' OpenAPI documents into one.

Paths get their component's prefix. A name that two components define in different ways gets the
component's name in front, in each of them; what they define alike stays shared. The order is that of
the prefixes, so that the same components give the same bytes in every mode.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
Definition = tuple[str, str]  # section and name, such as ("schemas", "Item")

OPENAPI_VERSION = "3.1.0"
_METHODS = frozenset({"delete", "get", "head", "options", "patch", "post", "put", "trace"})
_REF = "#/components/"


def merged(documents: Sequence[tuple[str, str, Document]], *, title: str) -> Document:
    """Return one document for `(component, prefix, document)`, in the order given."""
    clashes = _clashing_definitions(documents)
    repeated = _repeated_operation_ids(documents)
    paths: Document = {}
    definitions: defaultdict[str, Document] = defaultdict(dict)
    for component, prefix, document in documents:
        rename = _renamer(component, clashes)
        owner = _Owner(component, repeated, clashes, document.get("security"))
        for path, item in document.get("paths", {}).items():
            paths[prefix.rstrip("/") + path] = owner.item(rename(item))
        for section, named in document.get("components", {}).items():
            for name, definition in named.items():
                new_name = f"{component}_{name}" if (section, name) in clashes else name
                definitions[section][new_name] = rename(definition)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": {section: definitions[section] for section in sorted(definitions)},
    }


def is_document(value: Any) -> bool:
    """Tell whether a component's answer has the shape that merging relies on; anybody may answer anything."""
    if not (isinstance(value, dict) and _is_security(value.get("security"))):
        return False
    paths = value.get("paths", {})
    if not (_holds_objects(paths) and _holds_objects(value.get("components", {}))):
        return False
    operations = [item[method] for item in paths.values() for method in _METHODS & item.keys()]
    return all(
        isinstance(operation, dict)
        and isinstance(operation.get("operationId", ""), str)
        and _is_security(operation.get("security"))
        for operation in operations
    )


def _holds_objects(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, dict) for item in value.values())


def _is_security(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(item, dict) for item in value))


def _clashing_definitions(documents: Sequence[tuple[str, str, Document]]) -> set[Definition]:
    """Return what differs between components, and whatever refers to that."""
    seen: dict[Definition, Any] = {}
    clashes: set[Definition] = set()
    users: defaultdict[Definition, set[Definition]] = defaultdict(set)
    for _, _, document in documents:
        for section, named in document.get("components", {}).items():
            for name, definition in named.items():
                key = (section, name)
                if seen.setdefault(key, definition) != definition:
                    clashes.add(key)
                for used in _references(definition):
                    users[used].add(key)
    open_ends = list(clashes)
    while open_ends:
        for user in users[open_ends.pop()] - clashes:
            clashes.add(user)
            open_ends.append(user)
    return clashes


def _repeated_operation_ids(documents: Sequence[tuple[str, str, Document]]) -> set[str]:
    seen: set[str] = set()
    repeated: set[str] = set()
    for _, _, document in documents:
        mine = {
            operation["operationId"]
            for item in document.get("paths", {}).values()
            for method, operation in item.items()
            if method in _METHODS and "operationId" in operation
        }
        repeated |= mine & seen
        seen |= mine
    return repeated


@dataclass(frozen=True)
class _Owner:
    """Makes a component's operations stand on their own."""

    component: str
    repeated_ids: set[str]
    clashes: set[Definition]
    security: Any

    def item(self, item: Document) -> Document:
        """Return a path item with its operations rewritten."""
        return {key: self._operation(value) if key in _METHODS else value for key, value in item.items()}

    def _operation(self, operation: Document) -> Document:
        own = {"tags": [self.component], **operation}
        if own.get("operationId") in self.repeated_ids:
            own["operationId"] = f"{self.component}_{own['operationId']}"
        if (security := own.get("security", self.security)) is not None:
            own["security"] = [self._requirement(requirement) for requirement in security]
        return own

    def _requirement(self, requirement: Document) -> Document:
        """Name the security schemes as they are named in the merged document."""
        return {
            f"{self.component}_{name}" if ("securitySchemes", name) in self.clashes else name: scopes
            for name, scopes in requirement.items()
        }


def _renamer(component: str, clashes: set[Definition]) -> Callable[[Any], Any]:
    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: _target(item) if key == "$ref" else rename(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rename(item) for item in value]
        return value

    def _target(ref: Any) -> Any:
        key = _definition(ref)
        return f"{_REF}{key[0]}/{component}_{key[1]}" if key in clashes else ref

    return rename


def _references(value: Any) -> set[Definition]:
    if isinstance(value, dict):
        found = _definition(value.get("$ref"))
        return set().union({found} if found else set(), *map(_references, value.values()))
    if isinstance(value, list):
        return set().union(*map(_references, value))
    return set()


def _definition(ref: Any) -> Definition | None:
    if not isinstance(ref, str) or not ref.startswith(_REF):
        return None
    section, _, name = ref.removeprefix(_REF).partition("/")
    return section, name
