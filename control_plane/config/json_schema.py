"""The file format as JSON Schema.

Derived from `Settings`, so that it cannot disagree with what `load` accepts. Two things differ from the
models: a component's `name` is the key of its table, and the gateway's `use` may be left out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from contracts.specs import Settings

Node = dict[str, Any]

# What each option is, by its path; "*" is a name of the user's.
DESCRIPTIONS = {
    "app": "The application as a whole.",
    "app.name": "Name of the application; every stream and key on the bus begins with it.",
    "app.mode": "Placement of replicas: all in one process, one process a component, one a group, or auto.",
    "app.orphan_grace_s": "Seconds that hosts go on without a control plane before they drain and stop.",
    "gateway": "Where clients of the backend connect.",
    "gateway.host": "Address to listen on.",
    "gateway.port": "Port to listen on; 0 takes any free port.",
    "app.launcher": "coplane, or legacy: the commands of [legacy.commands] in place of the components.",
    "bus": "What carries events and shared state.",
    "bus.url": "auto (memory in single mode, else an embedded Valkey), memory://, or a redis://, rediss:// "
    "or unix:// URL.",
    "control": "The control plane's API and dashboard over TCP; the Unix socket is always there.",
    "control.host": "Address to listen on.",
    "control.port": "Port to listen on; 0 takes any free port.",
    "components": "The components, by name.",
    "components.*": "One component.",
    "components.*.use": "What to run, as module:attribute; what it is, is found out from its shape.",
    "components.*.kind": "What `use` names, where its shape does not tell.",
    "components.*.factory": "Whether `use` names a function that makes what is to run.",
    "components.*.run": "Method that starts an object; start by default.",
    "components.*.stop": "Method that stops an object; stop, shutdown, aclose or close by default.",
    "components.*.ready": "Attribute, method or event by which an object says that it has started, "
    "or the port at which it listens then.",
    "components.*.agent": "The agent that a launcher object is to load.",
    "components.*.agents": "Agents of a launcher object, each to be a component of its own, in this order.",
    "components.*.aliases": "Other names for it on the command line of a launch.",
    "components.*.adopt_bus": "Whether the streams of a FastStream application are the bus's.",
    "components.*.exclusive": "Whether its code bears no second instance of itself in one process.",
    "components.*.command": "A program and its arguments, in place of `use`; always a process of its own.",
    "components.*.cwd": "Folder it runs in, seen from the configuration file.",
    "components.*.port": "Of a program: the port on 127.0.0.1 at which it answers; 0 takes any free one. "
    "Of Python code: one more port of the gateway, at which it is served alone.",
    "components.*.stop_signal": "Signal that asks the program to end.",
    "components.*.pty": "Whether the program is given a terminal.",
    "components.*.depends_on": "Components that must be ready before this one starts.",
    "components.*.on_dependency_failure": "What a running replica does when a dependency fails: ignore it, "
    "stop and wait, or be replaced.",
    "components.*.prefix": "Path its routes are served under; /agents/NAME by default, / for the gateway.",
    "components.*.strip_prefix": "Whether it sees paths without its prefix: it cannot live under one.",
    "components.*.host": "Virtual host that it is served at alone, such as shop.localhost; then at its root.",
    "components.*.replicas": "Number of running copies.",
    "components.*.group": "Group whose components share a host in hybrid mode.",
    "components.*.preload": "Whether its module is imported once, before hosts are forked.",
    "components.*.essential": "Whether its failure fails the launch.",
    "components.*.config": "Passed to the component, validated by its own model.",
    "components.*.env": "Environment variables of its process.",
    "components.*.env_file": "File with more of them, such as .env; seen from the configuration file.",
    "components.*.pythonpath": "Folders to import from, before all others; seen from the configuration file.",
    "components.*.restart": "When and how often a replica that exited is started again.",
    "components.*.restart.policy": "Which exits lead to a restart.",
    "components.*.restart.max_restarts": "Restarts allowed inside the window; the next exit is a failure.",
    "components.*.restart.window_s": "Length of that window in seconds.",
    "components.*.restart.backoff_s": "Seconds before the second restart in the window; it then doubles.",
    "components.*.restart.backoff_max_s": "Longest delay before a restart, in seconds.",
    "components.*.grace_period_s": "Seconds from the start of a drain until the replica is killed.",
    "components.*.startup_timeout_s": "Seconds its startup may take.",
    "components.*.health": "How its health is asked for.",
    "components.*.health.interval_s": "Seconds between health checks.",
    "components.*.health.timeout_s": "Seconds a health check may take.",
    "components.*.health.path": "Path that an application or program is asked at; 2xx is well.",
    "components.*.health.exec": "Program that says by its exit code whether all is well.",
    "components.*.health.log": "Regular expression for the line that says that the program is ready.",
    "components.*.limits": "Resource limits of a host that holds the component.",
    "components.*.limits.memory_mb": "Memory the host may use, in MiB.",
    "groups": "What holds for a whole group of components, by name.",
    "groups.*": "One group.",
    "groups.*.strategy": "Whether a failure concerns its replica alone (one-for-one) or replaces the group.",
    "legacy": "How the backend was started before, for the way back.",
    "legacy.commands": "Command lines by name: a text for the shell, or a list of words.",
    "legacy.commands.*": "One command.",
    "profiles": "Named choices of components, by name.",
    "profiles.*": "One choice of components.",
    "profiles.*.components": "Components that take part; what they depend on comes along.",
}


def schema() -> Node:
    """Return the JSON Schema of the configuration file, every option described."""
    document = _described(plain_schema(), "")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **document,
        "title": "Coplane configuration (ctl.toml, ctl.yaml, ctl.json, [tool.ctl] in pyproject.toml)",
        "$defs": {"Reference": {"type": "string", "pattern": r"\$\{[A-Za-z_]"}},
    }


@cache
def plain_schema() -> Node:
    """Return the schema without references and descriptions, for looking things up."""
    whole = Settings.model_json_schema()
    return _as_in_the_file(_resolved(whole, whole.get("$defs", {})))


def _resolved(node: Any, definitions: Node) -> Any:
    """Replace every `$ref` by what it names; the models do not nest in themselves."""
    if isinstance(node, list):
        return [_resolved(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    target = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
    merged = _with_named_values({**target, **node})
    return {key: _resolved(item, definitions) for key, item in merged.items() if key not in ("$ref", "$defs")}


def _with_named_values(node: Node) -> Node:
    # Pydantic writes a table of names as `patternProperties`, which would bind the gateway too.
    if "patternProperties" not in node:
        return node
    ((pattern, value),) = node["patternProperties"].items()
    kept = {key: item for key, item in node.items() if key != "patternProperties"}
    return {**kept, "propertyNames": {"pattern": pattern}, "additionalProperties": value}


def _as_in_the_file(plain: Node) -> Node:
    components = plain["properties"]["components"]
    component = components["additionalProperties"]
    properties = {key: node for key, node in component["properties"].items() if key != "name"}
    gateway = {key: node for key, node in component.items() if key != "required"} | {"properties": properties}
    component = {**gateway, "oneOf": [{"required": ["use"]}, {"required": ["command"]}]}
    components = {**components, "properties": {"gateway": gateway}, "additionalProperties": component}
    return {**plain, "properties": {**plain["properties"], "components": components}}


def _described(node: Node, path: str) -> Node:
    """Give every option its description, and let `${NAME}` stand where its value may."""
    kept = {key: item for key, item in node.items() if key not in ("title", "description")}
    if path in DESCRIPTIONS:
        kept = {"description": DESCRIPTIONS[path], **kept}
    if "properties" in kept:
        own = path != "components"  # below `components` the key is a name, `gateway` too
        kept["properties"] = {
            key: _described(item, f"{path}.{key if own else '*'}".removeprefix("."))
            for key, item in kept["properties"].items()
        }
    if isinstance(kept.get("additionalProperties"), dict) and f"{path}.*" in DESCRIPTIONS:
        kept["additionalProperties"] = _described(kept["additionalProperties"], f"{path}.*")
    return _or_reference(kept)


def _or_reference(node: Node) -> Node:
    inner = without_null(node)
    narrow = inner.get("type") in ("integer", "number", "boolean") or "enum" in inner or "pattern" in inner
    if not narrow:
        return node
    outer: Node = {
        key: node[key] for key in ("description", "default") if key in node and node[key] is not None
    }
    value = {key: item for key, item in inner.items() if key not in ("description", "default", "title")}
    return {**outer, "anyOf": [value, {"$ref": "#/$defs/Reference"}]}


def without_null(node: Node) -> Node:
    """Return the one choice besides null: an option that is left out need not be null in any format."""
    choices = [item for item in node.get("anyOf", ()) if item.get("type") != "null"]
    kept = {key: item for key, item in node.items() if key != "anyOf"}
    return {**kept, **choices[0]} if len(choices) == 1 else node
