"""Which prefix a request belongs to: one rule, for the gateway and for every host.

The longest prefix wins, on the borders of path segments. An encoded slash is no border, and a path
with `.` or `..` segments belongs to nobody: so no spelling of a path reaches another component.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote

from contracts.component import Scope

T = TypeVar("T")


class PrefixTable(Generic[T]):
    """An immutable table of values by path prefix; the root is "" or "/".

    A prefix may be that of a virtual host, `//host/prefix`: it is for requests to this host alone, and comes
    before those that are for any.
    """

    def __init__(self, entries: Mapping[str, T]) -> None:
        by_host: dict[str, dict[str, T]] = {}
        for address, value in entries.items():
            host, prefix = split_address(address)
            by_host.setdefault(host, {})[prefix] = value
        self._any = _Paths(by_host.pop("", {}))
        self._hosts = {host: _Paths(paths) for host, paths in by_host.items()}

    def find(self, scope: Scope) -> tuple[str, T] | None:
        """Return the path prefix that the request belongs to, and what is there."""
        return self.find_by_host(scope) or self._any.find(scope)

    def find_by_host(self, scope: Scope) -> tuple[str, T] | None:
        """Return the same for what is served at the host of the request alone."""
        paths = self._hosts.get(_host(scope)) if self._hosts else None
        return paths.find(scope) if paths is not None else None


class _Paths(Generic[T]):
    def __init__(self, entries: Mapping[str, T]) -> None:
        self._entries = {prefix.rstrip("/"): (prefix.rstrip("/"), value) for prefix, value in entries.items()}
        self._longest = max(map(len, self._entries), default=0)

    def find(self, scope: Scope) -> tuple[str, T] | None:
        path = routing_path(scope)
        # Cut first, so that a path of very many segments costs no more than a long prefix.
        head = path if len(path) <= self._longest else path[: self._longest + 1]
        if path[:1] != "/" or _has_dot_segment(scope["path"]):
            return None
        while True:
            found = self._entries.get(head)
            if found is not None and path[len(head) : len(head) + 1] in ("", "/"):
                return found
            cut = head.rfind("/")
            if cut < 0:
                return None
            head = head[:cut]


def split_address(address: str) -> tuple[str, str]:
    """Return host and path prefix of `//host/prefix` or `/prefix`."""
    if not address.startswith("//"):
        return "", address
    host, slash, path = address[2:].partition("/")
    return host, slash + path


def _host(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"host":
            host: str = value.decode("latin-1").lower()
            return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return ""


def routing_path(scope: Scope) -> str:
    """Return the decoded path, in which encoded slashes stay encoded."""
    raw = scope.get("raw_path") or b""
    if b"%2" in raw and (b"%2F" in raw or b"%2f" in raw):
        return unquote(raw.decode("latin-1").replace("%2F", "%252F").replace("%2f", "%252F"))
    path: str = scope["path"]
    return path


def _has_dot_segment(path: str) -> bool:
    return "/." in path and not {".", ".."}.isdisjoint(path.split("/"))
