"""What may stand at a place of the configuration file, in words; looked up in its schema."""

from __future__ import annotations

from control_plane.config.json_schema import Node, plain_schema, without_null
from control_plane.config.problems import KeyPath

_NAME = "a name of at most 63 lower-case letters, digits, '-' and '_', beginning with a letter"
_FORMATS = {
    "use": "'module:attribute', such as 'components.agents.writer:Writer'",
    "prefix": "a path, such as '/agents/writer'",
    "host": "a host name, such as 'shop.localhost'",
    "run": "the name of a method",
    "stop": "the name of a method",
    "ready": "the name of an attribute or a method",
    "path": "a path, such as '/healthz'",
    "stop_signal": "the name of a signal, such as 'SIGINT'",
    "url": "'auto', 'memory://', or a redis://, rediss:// or unix:// URL",
}
_TYPES = {
    "boolean": "true or false",
    "object": "a table",
    "string": "a text in quotes",
    "array": 'a list, such as ["writer"]',
}
_NUMBERS = {"integer": "a whole number", "number": "a number"}


def node_at(path: KeyPath) -> Node | None:
    """Return what may stand at the path, or None where no option is."""
    node: Node = plain_schema()
    for part in path:
        if isinstance(part, int):
            below = node.get("items")
        else:
            below = node.get("properties", {}).get(part) or node.get("additionalProperties")
        if not isinstance(below, dict):
            return None
        node = without_null(below)
    return node


def keys_at(path: KeyPath) -> tuple[str, ...]:
    """Return the keys that the table at the path may have."""
    return tuple((node_at(path) or {}).get("properties", ()))


def expected_at(path: KeyPath) -> str:
    """Return in words what may stand at the path."""
    node = node_at(path) or {}
    if "enum" in node:
        return f"one of {', '.join(node['enum'])}"
    if "pattern" in node:
        return _FORMATS.get(str(path[-1]), _NAME)
    kind = node.get("type", "")
    return f"{_NUMBERS[kind]}{_range(node)}" if kind in _NUMBERS else _TYPES.get(kind, "another value")


def _range(node: Node) -> str:
    low, above, high = (node.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if above is not None:
        return f" above {above}"
    return f" of at least {low}" if low is not None else ""
