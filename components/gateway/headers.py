"""Which headers cross the gateway, and what it says of the client.

Hop-by-hop headers (RFC 9110, section 7.6.1) end here, in both directions. Who the client is, is said
by the gateway alone; what a client claims of itself is dropped, except from a trusted proxy. A
component in this process gets the same headers as one behind a socket.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from contracts.component import Scope
from contracts.problems import REFUSED

Header = tuple[bytes, bytes]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
ABOUT_THE_CLIENT = frozenset(
    {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)
# A message without these would mean something else, whatever its Connection header names.
_NEVER_NAMED = frozenset({b"content-length", b"host"})
_LOOKED_AT = HOP_BY_HOP | ABOUT_THE_CLIENT | {b"content-length", b"expect", b"host", b"x-request-id", REFUSED}
_DROPPED_FROM_ANSWERS = HOP_BY_HOP | {REFUSED}

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_REQUEST_ID_MAX_BYTES = 200
_ID_BYTES = 16
_IDS_DRAWN = 256
_SAFE_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


@dataclass(slots=True)
class Outbound:
    """The headers of one request as the component gets them, and what they mean to the gateway."""

    headers: list[Header]
    client: str | None
    scheme: str
    host: bytes = b""
    id: bytes = b""
    has_length: bool = False
    has_body: bool = False
    chunked: bool = False
    waits_for_continue: bool = False


class HeaderRules:
    """The rules of one gateway; `trusted_proxies` may say who the client is."""

    def __init__(self, trusted_proxies: Sequence[Network]) -> None:
        self._trusted = tuple(trusted_proxies)
        self._ids = _ids()

    def outbound(self, scope: Scope) -> Outbound:
        """Return the headers of a request on their way to a component."""
        kept: list[Header] = []
        seen: list[Header] = []
        for header in scope["headers"]:
            (seen if header[0] in _LOOKED_AT else kept).append(header)
        peer = scope["client"][0] if scope.get("client") else None
        scheme = "https" if scope.get("scheme") in ("https", "wss") else "http"
        request = Outbound([], peer, scheme)
        named = _look_at(seen, request)
        if named:
            kept = [header for header in kept if header[0] not in named]
        if self._trusted and peer is not None and self._is_trusted(peer):
            about_client = self._passed_on(seen, request, peer)
        else:
            about_client = _about_client((peer,) if peer else (), scheme, request.host)
        # HTTP/1.0 may leave out the host, and any version a length of nothing; to a component all look alike.
        request.headers = [(b"host", request.host or b"localhost"), *request.headers, *kept, *about_client]
        request.headers.append((b"x-request-id", request.id or next(self._ids)))
        if not request.has_length and not request.chunked and scope.get("method", "GET") not in _WITHOUT_BODY:
            request.headers.append((b"content-length", b"0"))
        return request

    def _is_trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)

    def _passed_on(self, seen: list[Header], request: Outbound, peer: str) -> tuple[Header, ...]:
        """Return what a trusted proxy says; anything left of the real client is the client's invention."""
        said = {name: value for name, value in seen if name in ABOUT_THE_CLIENT}
        chain = [peer]
        listed = b",".join(value for name, value in seen if name == b"x-forwarded-for")
        for entry in reversed(listed.split(b",")):
            address = _address(entry.decode("latin-1").strip())
            if address is None:
                break
            chain.insert(0, address)
            if not self._is_trusted(address):
                break
        request.client = chain[0]
        proto = said.get(b"x-forwarded-proto", b"").decode("latin-1").strip()
        request.scheme = proto if proto in ("http", "https") else request.scheme
        return _about_client(tuple(chain), request.scheme, said.get(b"x-forwarded-host", request.host))


def _ids() -> Iterator[bytes]:
    """Yield ids for requests; a system call for each would cost more than all the rest of it."""
    while True:
        drawn = os.urandom(_IDS_DRAWN * _ID_BYTES).hex().encode()
        for start in range(0, len(drawn), 2 * _ID_BYTES):
            yield drawn[start : start + 2 * _ID_BYTES]


def _look_at(seen: list[Header], request: Outbound) -> set[bytes]:
    """Note what the special headers say; return what the Connection header names."""
    named: set[bytes] = set()
    for header in seen:
        name, value = header
        match name:
            case b"host":
                request.host = request.host or value
            case b"content-length":
                request.has_length = True
                request.has_body = request.has_body or value != b"0"
                request.headers.append(header)
            case b"transfer-encoding":
                request.has_body = request.chunked = True
            case b"expect":
                request.waits_for_continue = value.lower() == b"100-continue"
                request.headers.append(header)
            case b"x-request-id" if len(value) <= _REQUEST_ID_MAX_BYTES:
                request.id = value
            case b"connection":
                named |= {token.strip().lower() for token in value.split(b",")}
    return named - _NEVER_NAMED


def answer_headers(headers: Sequence[Header]) -> list[Header]:
    """Return the headers of an answer on their way to the client."""
    kept = [header for header in headers if header[0].lower() not in _DROPPED_FROM_ANSWERS]
    if len(kept) == len(headers):
        return kept
    tokens = b",".join(value for name, value in headers if name.lower() == b"connection")
    named = {token.strip().lower() for token in tokens.split(b",")} - _NEVER_NAMED
    return [header for header in kept if header[0].lower() not in named]


@lru_cache(maxsize=4096)
def _about_client(chain: tuple[str, ...], scheme: str, host: bytes) -> tuple[Header, ...]:
    told = [(b"x-forwarded-for", ", ".join(chain).encode())] if chain else []
    told.append((b"x-forwarded-proto", scheme.encode()))
    if host:
        told.append((b"x-forwarded-host", host))
    return (*told, (b"forwarded", _forwarded(chain, scheme, host.decode("latin-1")).encode()))


def _forwarded(chain: tuple[str, ...], scheme: str, host: str) -> str:
    """Return the value of `Forwarded` (RFC 7239)."""
    nodes = [f'"[{address}]"' if ":" in address else address for address in chain] or ["unknown"]
    first = f"for={nodes[0]};proto={scheme}"
    if _SAFE_HOST.fullmatch(host):
        first += f';host="{host}"'
    return ", ".join([first, *(f"for={node}" for node in nodes[1:])])


def _address(text: str) -> str | None:
    """Return the address of an X-Forwarded-For entry, without the port that some proxies add."""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return None
