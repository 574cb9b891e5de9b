"""WebSockets through the gateway: the same for replicas here and behind sockets."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from contracts.component import Endpoint
from tests.support.gateway_stage import Stage, Where, gateway_before, unix_socket
from tests.support.wait import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("where", ["local", "remote"])]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on uvloop, as hosts do."""
    return "asyncio", {"use_uvloop": True}


def to(stage: Stage, path: str = "/writer/ws", **options: Any) -> connect:
    return connect(f"ws://{stage.host}:{stage.port}{path}", proxy=None, **options)


async def closed(client: ClientConnection) -> tuple[int | None, str | None]:
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(client.recv(), 5)
    return client.close_code, client.close_reason


def echo_app() -> FastAPI:
    app = FastAPI()

    @app.websocket("/ws")
    async def echo(socket: WebSocket) -> None:
        await socket.accept(headers=[(b"x-own", b"1"), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
        while True:
            match await socket.receive():
                case {"type": "websocket.disconnect"}:
                    return
                case {"text": str() as text}:
                    await socket.send_text(text)
                case {"bytes": data}:
                    await socket.send_bytes(data)

    return app


async def test_text_and_bytes_pass_both_ways(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage, to(stage) as client:
        for message in ("hello", "", "\u00e9" * 1000, b"", b"\x00\xff", bytes(300_000)):
            await client.send(message)
            assert await client.recv() == message


async def test_the_applications_headers_reach_the_client(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage, to(stage) as client:
        assert client.response is not None
        assert client.response.headers["x-own"] == "1"
        assert client.response.headers.get_all("set-cookie") == ["a=1", "b=2"]
        assert len(client.response.headers.get_all("date")) == 1


async def test_the_component_sees_who_the_client_is(where: Where) -> None:
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)
        await send({"type": "websocket.accept"})

    async with gateway_before({"writer": app}, where=where) as stage:
        headers = {"Cookie": "a=1", "X-Forwarded-For": "6.6.6.6", "Origin": "http://a.example"}
        async with to(stage, "/writer/ws?x=1", additional_headers=headers):
            pass
        sent = dict(seen["headers"])
        assert seen["path"] == "/writer/ws"
        assert seen["query_string"] == b"x=1"
        assert seen["root_path"] == "/writer"
        assert seen["scheme"] == "ws"
        assert seen["client"] == ("127.0.0.1", 0)
        assert sent[b"host"] == f"{stage.host}:{stage.port}".encode()
        assert (sent[b"cookie"], sent[b"origin"]) == (b"a=1", b"http://a.example")
        assert sent[b"x-forwarded-for"] == b"127.0.0.1"


async def test_the_component_chooses_the_subprotocol(where: Where) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["subprotocols"] == ["v1", "v2"]
        await send({"type": "websocket.accept", "subprotocol": "v2"})
        await receive()
        await receive()

    async with (
        gateway_before({"writer": app}, where=where) as stage,
        to(stage, subprotocols=[Subprotocol("v1"), Subprotocol("v2")]) as client,
    ):
        assert client.subprotocol == "v2"


async def test_the_components_close_code_and_reason_reach_the_client(where: Where) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def close(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close(4001, "enough")

    async with gateway_before({"writer": app}, where=where) as stage, to(stage) as client:
        assert await closed(client) == (4001, "enough")


@pytest.mark.parametrize("sent", [(1000, ""), (4002, "bye")])
async def test_the_clients_close_code_and_reason_reach_the_component(
    where: Where, sent: tuple[int, str]
) -> None:
    left: list[tuple[int, str]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        left.append((message["code"], message["reason"]))

    async with gateway_before({"writer": app}, where=where) as stage:
        async with to(stage) as client:
            await client.close(*sent)
        await eventually(lambda: left)
    assert left == [sent]


async def test_a_client_that_vanishes_ends_the_components_side(where: Where) -> None:
    left: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            pass
        left.append(message["code"])

    async with gateway_before({"writer": app}, where=where) as stage:
        client = await to(stage)
        client.transport.abort()
        await eventually(lambda: left)
        await eventually(lambda: not any(guard.in_flight for guard in stage.guards.values()))
    assert left == [1005]


async def test_a_refusal_keeps_its_status_headers_and_body(where: Where) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"who are you?"})

    async with gateway_before({"writer": app}, where=where) as stage:
        with pytest.raises(InvalidStatus) as refusal:
            await to(stage)
    response = refusal.value.response
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.body == b"who are you?"


async def test_a_redirect_is_the_clients_to_follow(where: Where) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"location", b"/elsewhere")]
        await send({"type": "websocket.http.response.start", "status": 307, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b""})

    async with gateway_before({"writer": app}, where=where) as stage:
        with pytest.raises(InvalidStatus) as refusal:
            await to(stage)
    # The client follows it to a path of nobody.
    assert refusal.value.response.status_code == 404


async def test_a_route_that_closes_before_it_accepts_refuses(where: Where) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def close(socket: WebSocket) -> None:
        await socket.close()

    async with gateway_before({"writer": app}, where=where) as stage:
        with pytest.raises(InvalidStatus) as refusal:
            await to(stage)
    assert refusal.value.response.status_code == 403


@pytest.mark.parametrize("accepts", [True, False])
async def test_a_fault_stays_with_its_component(where: Where, accepts: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if accepts:
            await send({"type": "websocket.accept"})
        raise ValueError("boom")

    async with gateway_before({"writer": app}, where=where) as stage:
        if accepts:
            async with to(stage) as client:
                assert await closed(client) == (1011, "")
        else:
            with pytest.raises(InvalidStatus) as refusal:
                await to(stage)
            assert refusal.value.response.status_code == 500
            assert refusal.value.response.headers["content-type"] == "application/problem+json"
        assert [component for component, _ in stage.errors] == ["writer"]


async def test_a_drain_closes_with_1012(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage, to(stage) as client:
        await client.send("hello")
        await client.recv()
        stage.guards["writer-1"].drain()
        assert (await closed(client))[0] == 1012
        assert await stage.guards["writer-1"].wait_idle(5)


async def test_a_draining_replica_hands_over(where: Where) -> None:
    def app(name: str) -> Any:
        async def answer(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": name})

        return answer

    async with gateway_before(
        {"writer/writer-1": app("1"), "writer/writer-2": app("2")}, where=where
    ) as stage:
        stage.guards["writer-1"].drain()
        for _ in range(3):
            async with to(stage) as client:
                assert await client.recv() == "2"


async def test_nobody_there_is_a_problem(where: Where) -> None:
    async with gateway_before({"writer": echo_app()}, where=where) as stage:
        with pytest.raises(InvalidStatus) as refusal:
            await to(stage, "/nowhere")
        assert refusal.value.response.status_code == 404
        stage.directory.set()

        async def not_ready() -> bool:
            with pytest.raises(InvalidStatus) as refusal:
                await to(stage)
            return refusal.value.response.status_code == 503

        await eventually(not_ready)


async def test_a_slow_client_holds_the_component_up(where: Where) -> None:
    sent = 0
    noise = os.urandom(100_000)  # what does not shrink when it is compressed

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "websocket.accept"})
        for _ in range(1000):
            await send({"type": "websocket.send", "bytes": noise})
            sent += 1

    async with gateway_before({"writer": app}, where=where) as stage:
        client = await to(stage, max_queue=1)
        await client.recv()
        held_at = -1
        while sent != held_at:
            held_at = sent
            await asyncio.sleep(0.2)  # as long as it takes to see that nothing moves
        assert sent < 500
        client.transport.abort()


async def test_a_replica_that_vanishes_closes_with_1014(where: Where, tmp_path: Path) -> None:
    if where == "local":
        pytest.skip("a replica in this process does not vanish alone")
    accepted: list[asyncio.StreamWriter] = []

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line for line in head.decode().split("\r\n") if line.lower().startswith("sec-websocket-key")
        )
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key.partition(": ")[2]).encode() + b"\r\n\r\n"
        )
        accepted.append(writer)

    server = await asyncio.start_unix_server(die, sock=unix_socket(tmp_path / "1.sock"))
    async with gateway_before({"writer": echo_app()}, where=where) as stage:
        stage.directory.set(Endpoint("writer", "writer-9", "/writer", True, f"unix://{tmp_path / '1.sock'}"))

        async def connected() -> ClientConnection | None:
            client = await to(stage)
            if accepted:
                return client
            await client.close()
            return None

        client = await eventually(connected)
        accepted[0].transport.abort()
        assert (await closed(client))[0] == 1014
    server.close()
