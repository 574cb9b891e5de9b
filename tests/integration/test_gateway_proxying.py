"""What clients and components see through the gateway: the same for replicas here and behind sockets."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse

from tests.support.gateway_stage import Where, exchange, gateway_before
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

WHERE: list[Where] = ["local", "remote"]
MEGABYTE = 1 << 20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on uvloop, as hosts do."""
    return "asyncio", {"use_uvloop": True}


def echo_app() -> FastAPI:
    """Return an application that tells what it sees."""
    app = FastAPI()

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]

    @app.api_route("/echo", methods=methods, include_in_schema=False)
    @app.api_route("/echo/{rest:path}", methods=["GET"])
    async def echo(request: Request) -> JSONResponse:
        scope = request.scope
        return JSONResponse(
            {
                "method": request.method,
                "url": str(request.url),
                "path": scope["path"],
                "raw_path": scope["raw_path"].decode(),
                "root_path": scope["root_path"],
                "query": scope["query_string"].decode(),
                "client": scope["client"],
                "scheme": scope["scheme"],
                "http_version": scope["http_version"],
                "headers": [(name.decode(), value.decode()) for name, value in request.headers.raw],
                "body": (await request.body()).decode(),
            }
        )

    @app.get("/cookies")
    async def cookies() -> Response:
        answer = Response("cookies", headers={"connection": "x-internal", "x-internal": "1", "x-own": "2"})
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    @app.get("/chunks")
    async def chunks() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            for part in (b"one", b"two", b"three"):
                yield part

        return StreamingResponse(body(), media_type="text/plain")

    @app.get("/redirect")
    async def redirect() -> Response:
        return RedirectResponse("/writer/echo")

    @app.get("/compressed")
    async def compressed() -> Response:
        return Response(gzip.compress(b"text", mtime=0), headers={"content-encoding": "gzip"})

    @app.get("/status/{code}")
    async def status(code: int) -> Response:
        return Response(status_code=code)

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("boom")

    @app.get("/boom/late")
    async def boom_late() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"half"
            raise ValueError("boom")

        return StreamingResponse(body())

    return app


def raw(line: str, *headers: str, body: bytes = b"") -> bytes:
    head = [f"{line} HTTP/1.1", "Host: a.example", "Connection: close", "X-Request-ID: id-1", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


REQUESTS = {
    "get": raw("GET /writer/echo?x=1&y=%20"),
    "encoded path": raw("GET /writer/echo/a%2Fb%20c/%C3%A9?q"),
    "post": raw("POST /writer/echo", "Content-Length: 5", "Content-Type: text/plain", body=b"hello"),
    "post without body": raw("POST /writer/echo"),
    "post in chunks": raw(
        "POST /writer/echo", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    ),
    "put": raw("PUT /writer/echo", "Content-Length: 1", body=b"x"),
    "patch": raw("PATCH /writer/echo", "Content-Length: 1", body=b"x"),
    "delete": raw("DELETE /writer/echo"),
    "options": raw("OPTIONS /writer/echo"),
    "head": raw("HEAD /writer/echo"),
    "http/1.0": b"GET /writer/echo HTTP/1.0\r\nX-Request-ID: id-1\r\n\r\n",
    "headers": raw("GET /writer/echo", "Cookie: a=1", "Cookie: b=2", "X-Up: HeLLo", "Accept-Encoding: gzip"),
    "hop by hop": raw(
        "GET /writer/echo", "TE: trailers", "Keep-Alive: 5", "Upgrade: h2c", "Proxy-Connection: x"
    ),
    "spoofed": raw(
        "GET /writer/echo",
        "X-Forwarded-For: 6.6.6.6",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "X-Forwarded-Proto: https",
    ),
    "two hosts": raw("GET /writer/echo", "Host: evil.example"),
    "not ascii": raw("GET /writer/echo", "X-Name: J\u00fcrgen"),
    "cookies": raw("GET /writer/cookies"),
    "chunks": raw("GET /writer/chunks"),
    "no content": raw("GET /writer/status/204"),
    "not modified": raw("GET /writer/status/304"),
    "redirect": raw("GET /writer/redirect"),
    "compressed": raw("GET /writer/compressed"),
    "unknown below the prefix": raw("GET /writer/nowhere"),
    "unknown prefix": raw("GET /nowhere"),
    "dot segments": raw("GET /writer/../writer/echo"),
    "encoded slash in the prefix": raw("GET /writer%2Fecho"),
    "wrong method": raw("DELETE /writer/cookies"),
    "fault": raw("GET /writer/boom"),
    "late fault": raw("GET /writer/boom/late"),
    "openapi": raw("GET /openapi.json"),
    "documentation": raw("GET /-/docs"),
    "health": raw("GET /-/health"),
    "ready": raw("GET /-/ready"),
    "no page of ours": raw("GET /-/nowhere"),
}


def comparable(answer: bytes) -> bytes:
    """Return an answer without its date, and without the borders of its chunks, which mean nothing."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        parts = re.split(rb"(?:^|\r\n)[0-9a-f]+\r\n", body)
        body = b"".join(parts)
    return re.sub(rb"date: [^\r]*", b"date: -", head) + b"\r\n\r\n" + body


@pytest.mark.parametrize("name", REQUESTS)
async def test_answers_are_the_same_bytes_wherever_the_replica_is(name: str) -> None:
    answers = []
    for where in WHERE:
        async with gateway_before({"writer": echo_app()}, where=where) as stage:
            answer = await exchange(stage, REQUESTS[name])
        answers.append(comparable(answer))
    assert answers[0] == answers[1]
    assert answers[0].startswith(b"HTTP/1.1 ")
    assert b"date: -" in answers[0]


@pytest.mark.parametrize("where", WHERE)
async def test_a_component_sees_the_request_as_it_was_sent(where: Where) -> None:
    async with (
        gateway_before({"writer": echo_app()}, where=where) as stage,
        aiohttp.ClientSession() as client,
        client.post(f"{stage.url}/writer/echo?x=1", data=b"hello") as answer,
    ):
        seen = await answer.json()
    assert seen["method"] == "POST"
    assert seen["url"] == f"{stage.url}/writer/echo?x=1"
    assert seen["root_path"] == "/writer"
    assert seen["client"] == ["127.0.0.1", 0]
    assert seen["body"] == "hello"
    assert ["x-forwarded-for", "127.0.0.1"] in seen["headers"]


@pytest.mark.parametrize("where", WHERE)
async def test_the_path_passes_undecoded(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage:
        answer = await exchange(stage, REQUESTS["encoded path"])
    assert b'"raw_path":"/writer/echo/a%2Fb%20c/%C3%A9"' in answer


@pytest.mark.parametrize("where", WHERE)
async def test_repeated_headers_stay_apart_and_hop_by_hop_ones_end(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage:
        answer = await exchange(stage, REQUESTS["cookies"])
    assert answer.count(b"set-cookie: ") == 2
    assert b"x-own: 2" in answer
    assert b"x-internal" not in answer


@pytest.mark.parametrize("where", WHERE)
async def test_redirects_and_compression_are_the_clients_business(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage:
        redirect = await exchange(stage, REQUESTS["redirect"])
        compressed = await exchange(stage, REQUESTS["compressed"])
    assert redirect.startswith(b"HTTP/1.1 307")
    assert b"\r\nlocation: /writer/echo\r\n" in redirect
    assert gzip.decompress(compressed.partition(b"\r\n\r\n")[2]) == b"text"


@pytest.mark.parametrize("where", WHERE)
async def test_a_late_fault_is_no_whole_answer(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage:
        answer = await exchange(stage, REQUESTS["late fault"])
        assert [component for component, _ in stage.errors] == ["writer"]
    assert answer.endswith(b"4\r\nhalf\r\n")


@pytest.mark.parametrize("where", WHERE)
async def test_the_client_is_told_to_go_on_when_the_component_wants_the_body(where: Where) -> None:
    app = FastAPI()

    @app.post("/never")
    async def never() -> Response:
        return Response("no", 413)

    @app.post("/gladly")
    async def gladly(request: Request) -> Response:
        return Response(await request.body())

    async with gateway_before({"writer": app}, where=where) as stage:
        refused = await exchange(
            stage, raw("POST /writer/never", "Content-Length: 5", "Expect: 100-continue")
        )
        assert refused.startswith(b"HTTP/1.1 413")
        reader, writer = await asyncio.open_connection(stage.host, stage.port)
        writer.write(raw("POST /writer/gladly", "Content-Length: 5", "Expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.read()).endswith(b"hello")
        writer.close()


@pytest.mark.parametrize("where", WHERE)
async def test_events_arrive_one_by_one(where: Where) -> None:
    send_next = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number in range(3):
            await send_next.wait()
            send_next.clear()
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async with (
        asyncio.timeout(5),
        gateway_before({"writer": app}, where=where) as stage,
        aiohttp.ClientSession() as client,
        # The head comes before the first event.
        client.get(f"{stage.url}/writer/events") as answer,
    ):
        for number in range(3):
            send_next.set()
            assert await answer.content.readany() == b"data: %d\n\n" % number
        assert await answer.content.readany() == b""


@pytest.mark.parametrize("where", WHERE)
async def test_a_client_that_leaves_ends_the_request_at_once(where: Where) -> None:
    began, left = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        began.set()
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    async with gateway_before({"writer": app}, where=where) as stage:
        _, writer = await asyncio.open_connection(stage.host, stage.port)
        writer.write(b"GET /writer/x HTTP/1.1\r\nHost: a\r\n\r\n")
        await began.wait()
        writer.close()
        async with asyncio.timeout(2):
            await left.wait()
        await eventually(lambda: not any(guard.in_flight for guard in stage.guards.values()))
        assert not stage.errors


@pytest.mark.parametrize("where", WHERE)
async def test_a_client_that_leaves_in_its_body_leaves_no_whole_body(where: Where) -> None:
    """A body in chunks that is cut must not reach the component as a shorter one."""
    bodies: list[bytes | None] = []
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                bodies.append(None)
                break
            body += message["body"]
            if not message["more_body"]:
                bodies.append(body)
                break
            began.set()
        ended.set()

    began = asyncio.Event()
    async with gateway_before({"writer": app}, where=where) as stage:
        _, writer = await asyncio.open_connection(stage.host, stage.port)
        writer.write(raw("POST /writer/x", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n"))
        await began.wait()
        writer.close()
        async with asyncio.timeout(2):
            await ended.wait()
    assert bodies == [None]


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


@pytest.mark.slow
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of the process from /proc")
async def test_200_megabytes_pass_both_ways_in_constant_memory(where: Where) -> None:
    piece = os.urandom(MEGABYTE)
    count = 200

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Send back what comes, as it comes."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})

    async def upload() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield piece

    expected = hashlib.sha256()
    for _ in range(count):
        expected.update(piece)
    received, size, most = hashlib.sha256(), 0, 0
    async with gateway_before({"writer": app}, where=where) as stage, aiohttp.ClientSession() as client:
        gc.collect()
        before = resident_bytes()
        async with client.post(
            f"{stage.url}/writer/x", data=upload(), timeout=aiohttp.ClientTimeout(100)
        ) as answer:
            async for part in answer.content.iter_any():
                received.update(part)
                size += len(part)
                most = max(most, resident_bytes())
    assert size == count * MEGABYTE
    assert received.digest() == expected.digest()
    assert most - before < 32 * MEGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the size of the process from /proc")
async def test_a_client_that_does_not_read_holds_the_component_up(where: Where) -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": bytes(MEGABYTE), "more_body": True})
            sent += 1
        await send({"type": "http.response.body", "body": b""})

    async with gateway_before({"writer": app}, where=where) as stage:
        reader, writer = await asyncio.open_connection(stage.host, stage.port, limit=1024)
        writer.write(b"GET /writer/x HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await eventually(lambda: sent > 0)
        held_at = -1
        while sent != held_at:
            held_at = sent
            await asyncio.sleep(0.2)  # as long as it takes to see that nothing moves
        assert sent < 50
        writer.close()
