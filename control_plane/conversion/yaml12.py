"""Reads YAML as Compose and pm2 do: by the core schema of YAML 1.2, where `on`, `NO` and `8000:22` are text.

Needs PyYAML, which by itself reads YAML 1.1.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

# YAML 1.2.2, 10.3.2, with what each may begin with. A number with a 0 before it stays the text it is: nobody
# reads that as the same number.
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)


class Loader(yaml.SafeLoader):
    """Makes plain values of a document; a tag that it does not know is as if it were not there."""


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    return int(node.value, 0)


def _untagged(loader: Loader, node: yaml.Node) -> Any:
    match node:
        case yaml.MappingNode():
            return loader.construct_mapping(node, deep=True)
        case yaml.SequenceNode():
            return loader.construct_sequence(node, deep=True)
        case yaml.ScalarNode():
            plain = node.style is None
            tag = loader.resolve(yaml.ScalarNode, node.value, (plain, not plain))  # type: ignore[no-untyped-call]
            return loader.construct_object(yaml.ScalarNode(tag, node.value), deep=True)


Loader.yaml_implicit_resolvers = {}  # and not those of YAML 1.1
for _name, _pattern, _first in _RESOLVERS:
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern})$"), _first)
Loader.add_constructor("tag:yaml.org,2002:int", _int)
Loader.add_constructor(None, _untagged)
