"""`ComponentContext.call`: an HTTP request to another component, in this process or over a socket."""

from __future__ import annotations

import asyncio
import itertools
import json as json_module
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from contracts.component import AsgiMessage, CallResponse, Endpoint
from contracts.errors import ComponentError
from contracts.problems import REFUSED
from contracts.routing import FORWARDED_PORT, split_address
from control_plane.runtime.directory import EventDirectory

if TYPE_CHECKING:
    import aiohttp

# As the headers of an answer are spelt for whoever called.
_REFUSED = REFUSED.decode().title()


class Caller:
    """Calls components through the directory; ready replicas take turns."""

    def __init__(self, directory: EventDirectory) -> None:
        self._directory = directory
        self._turn = itertools.count()
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def call(
        self,
        component: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float,
    ) -> CallResponse:
        """Send the request and read the whole answer.

        Raises:
            ComponentError: no replica is ready (E5010), none answered within `timeout_s` (E5011),
                or the connection broke (E5012).
        """
        body = b"" if json is None else json_module.dumps(json).encode()
        sent = {"content-type": "application/json", **(headers or {})} if body else dict(headers or {})
        try:
            async with asyncio.timeout(timeout_s):
                await self._directory.caught_up()
                endpoint = self._choose(component)
                answer = await self._ask(endpoint, method, path, sent, body)
                if _REFUSED in answer.headers:
                    endpoint = self._choose(component, other_than=endpoint.replica)
                    answer = await self._ask(endpoint, method, path, sent, body)
                return answer
        except TimeoutError as exc:
            raise ComponentError(
                f"component '{component}' did not answer {method} {path} within {timeout_s:g} s", code="E5011"
            ) from exc

    async def close(self) -> None:
        """Close the pooled connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _choose(self, component: str, *, other_than: str = "") -> Endpoint:
        mine = [
            found
            for found in self._directory.endpoints()
            if found.component == component and found.replica != other_than
        ]
        candidates = [found for found in mine if found.ready] or mine
        if not candidates:
            raise ComponentError(f"no replica of component '{component}' is ready", code="E5010")
        return candidates[next(self._turn) % len(candidates)]

    async def _ask(
        self, endpoint: Endpoint, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> CallResponse:
        host, prefix = split_address(endpoint.prefix)
        full_path = prefix.rstrip("/") + "/" + path.lstrip("/")
        port = host.removeprefix(":") if host.startswith(":") else ""
        headers = self._addressed(headers, host, port)
        if endpoint.app is not None:
            return await _call_in_process(endpoint, method, full_path, headers, body, port=port)
        return await self._call_remote(endpoint, method, full_path, headers, body)

    def _addressed(self, headers: Mapping[str, str], host: str, port: str) -> Mapping[str, str]:
        """Return headers that lead to the component, and to no other one of its host."""
        kept = {name: value for name, value in headers.items() if not self._is_an_address(name, value)}
        if not host:
            return kept
        kept = {name: value for name, value in kept.items() if name.lower() != "host"}
        if port:
            return {FORWARDED_PORT.decode(): port, "host": f"localhost:{port}", **kept}
        return {"host": host, **kept}

    def _is_an_address(self, name: str, value: str) -> bool:
        match name.lower():
            case "x-forwarded-port":
                return True
            case "host":
                named = value.lower().partition(":")[0]
                return any(split_address(each.prefix)[0] == named for each in self._directory.endpoints())
            case _:
                return False

    async def _call_remote(
        self, endpoint: Endpoint, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> CallResponse:
        import aiohttp

        address = urlsplit(endpoint.address)
        authority = "localhost" if address.scheme == "unix" else address.netloc
        try:
            session = self._session(endpoint.address)
            async with session.request(
                method, f"http://{authority}{path}", headers=headers, data=body, allow_redirects=False
            ) as answer:
                sent_back = {name.title(): value for name, value in answer.headers.items()}
                return CallResponse(answer.status, sent_back, await answer.read())
        except aiohttp.ClientError as exc:
            raise ComponentError(
                f"the connection to replica '{endpoint.replica}' broke", why=str(exc), code="E5012"
            ) from exc

    def _session(self, address: str) -> aiohttp.ClientSession:
        import aiohttp

        if address not in self._sessions:
            parts = urlsplit(address)
            connector: aiohttp.BaseConnector = (
                aiohttp.UnixConnector(parts.path) if parts.scheme == "unix" else aiohttp.TCPConnector()
            )
            # As in a call within the process: no memory of earlier calls, and no time limit but the caller's.
            self._sessions[address] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._sessions[address]


async def _call_in_process(
    endpoint: Endpoint, method: str, target: str, headers: Mapping[str, str], body: bytes, *, port: str
) -> CallResponse:
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method.upper(),
        "scheme": "http",
        "path": path,
        "raw_path": quote(path, safe="/%:@!$&'()*+,;=~").encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [
            *([] if "host" in map(str.lower, headers) else [(b"host", b"localhost")]),
            *((name.lower().encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": None,
        "server": ("localhost", int(port)) if port else None,
    }
    incoming: Iterator[AsgiMessage] = iter([{"type": "http.request", "body": body, "more_body": False}])
    never_gone = asyncio.Event()
    status, sent_headers, chunks = 500, {}, []

    async def receive() -> AsgiMessage:
        message = next(incoming, None)
        if message is None:
            await never_gone.wait()  # the caller stays until it has the answer, or cancels
            return {"type": "http.disconnect"}
        return message

    async def send(message: AsgiMessage) -> None:
        nonlocal status, sent_headers
        if message["type"] == "http.response.start":
            status = message["status"]
            sent_headers = {k.decode().title(): v.decode("latin-1") for k, v in message.get("headers", ())}
        else:
            chunks.append(message.get("body", b""))

    assert endpoint.app is not None
    await endpoint.app(scope, receive, send)
    return CallResponse(status, sent_headers, b"".join(chunks))
