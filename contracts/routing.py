"""Which prefix a request belongs to: one rule, for the gateway and for every host.

The longest prefix wins, on the borders of path segments. An encoded slash is no border, and a path
with `.` or `..` segments belongs to nobody: so no spelling of a path reaches another component.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

from contracts.component import Scope

FORWARDED_PORT: Final = b"x-forwarded-port"
# Where a component describes its routes, and the gateway those of all.
OPENAPI: Final = "/openapi.json"
T = TypeVar("T")


class PrefixTable(Generic[T]):
    """An immutable table of values by path prefix; the root is "" or "/".

    A prefix may be that of a virtual host, `//host/prefix`, or of a listener, `//:port/prefix`: it is for
    requests that came there alone, and comes before those that are for any.

    Args:
        behind_gateway: requests come from a gateway, which says by X-Forwarded-Port at which port they came;
            elsewhere it is that of the connection, and nobody is believed.
    """

    def __init__(self, entries: Mapping[str, T], *, behind_gateway: bool = False) -> None:
        self._port_of = _forwarded_port if behind_gateway else _server_port
        by_host: dict[str, dict[str, T]] = {}
        for address, value in entries.items():
            host, prefix = split_address(address)
            by_host.setdefault(host, {})[prefix] = value
        self._any = _Paths(by_host.pop("", {}))
        self._hosts = {host: _Paths(paths) for host, paths in by_host.items()}

    def find(self, scope: Scope) -> tuple[str, T] | None:
        """Return the path prefix that the request belongs to, and what is there."""
        return self.find_by_host(scope) or self.find_for_any(scope)

    def find_for_any(self, scope: Scope) -> tuple[str, T] | None:
        """Return the same for what is served wherever a request comes to."""
        return self._any.find(scope)

    def find_by_host(self, scope: Scope) -> tuple[str, T] | None:
        """Return the same for what is served at the listener or the host of the request alone."""
        if not self._hosts:
            return None
        for place in (f":{self._port_of(scope)}", _host(scope)):
            paths = self._hosts.get(place)
            if paths is not None and (found := paths.find(scope)):
                return found
        return None


class _Paths(Generic[T]):
    def __init__(self, entries: Mapping[str, T]) -> None:
        self._entries = {prefix.rstrip("/"): (prefix.rstrip("/"), value) for prefix, value in entries.items()}
        self._longest = max(map(len, self._entries), default=0)

    def find(self, scope: Scope) -> tuple[str, T] | None:
        path = routing_path(scope)
        # Cut first, so that a path of very many segments costs no more than a long prefix.
        head = path if len(path) <= self._longest else path[: self._longest + 1]
        if path[:1] != "/" or has_dot_segment(scope["path"]):
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
    """Return host, or `:port`, and path prefix of `//host/prefix`, `//:port/prefix` or `/prefix`."""
    if not address.startswith("//"):
        return "", address
    host, slash, path = address[2:].partition("/")
    return host, slash + path


def _host(scope: Scope) -> str:
    host = _header(scope, b"host").lower()
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _forwarded_port(scope: Scope) -> str:
    return _header(scope, FORWARDED_PORT)


def _server_port(scope: Scope) -> str:
    return str((scope.get("server") or ("", None))[1])


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            text: str = value.decode("latin-1")
            return text
    return ""


def routing_path(scope: Scope) -> str:
    """Return the decoded path, in which encoded slashes stay encoded."""
    raw = scope.get("raw_path") or b""
    if b"%2" in raw and (b"%2F" in raw or b"%2f" in raw):
        return unquote(raw.decode("latin-1").replace("%2F", "%252F").replace("%2f", "%252F"))
    path: str = scope["path"]
    return path


def has_dot_segment(path: str) -> bool:
    """Tell whether a path has a segment that is `.` or `..`."""
    return "/." in path and not {".", ".."}.isdisjoint(path.split("/"))
