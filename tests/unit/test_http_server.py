"""The server below every host and the public socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from contracts.errors import ConnectionBroken
from control_plane.runtime import exchanges, websocket_connections
from control_plane.runtime.http_server import HttpServer
from control_plane.runtime.mounts import Guard
from tests.support.gateway_stage import tcp_socket, unix_socket
from tests.support.load import Report
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def running(app: Any, **options: Any) -> AsyncIterator[tuple[HttpServer, tuple[str, int]]]:
    sock = options.pop("sock", None) or tcp_socket()
    address = sock.getsockname()
    server = HttpServer(app, sock=sock, **options)
    await server.start()
    try:
        yield server, address
    finally:
        await server.stop(grace_s=0.2)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.readuntil(b"\r\n\r\n")


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.read()


async def test_the_date_is_right_without_a_timer() -> None:
    async with running(hello) as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(2):
            writer.write(GET)
            head = await head_of(reader)
            await reader.readexactly(2)
            [line] = [line for line in head.decode().split("\r\n") if line.startswith("date: ")]
            said = parsedate_to_datetime(line.removeprefix("date: "))
            assert abs(said.timestamp() - time.time()) < 2
        writer.close()


async def test_behind_the_gateway_the_client_is_whom_it_names(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["scheme"]))
        await hello(scope, receive, send)

    sock = unix_socket(tmp_path / "h.sock")
    async with running(app, sock=sock, trusted_proxy=True):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "h.sock"))
        writer.write(b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n")
        head = await head_of(reader)
        writer.close()
    assert seen == [(("203.0.113.9", 0), "https")]
    assert b"date:" not in head  # the gateway says it


async def test_on_a_public_socket_nobody_is_believed() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"][0], scope["scheme"]))
        await hello(scope, receive, send)

    async with running(app) as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n")
        await head_of(reader)
        writer.close()
    assert seen == [("127.0.0.1", "http")]


async def test_stop_closes_idle_connections_at_once() -> None:
    async with running(hello) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await head_of(reader)
        await reader.readexactly(2)
        async with asyncio.timeout(1):
            await server.stop(grace_s=30)
        assert await rest_of(reader) == b""
        writer.close()


async def test_stop_lets_requests_finish_and_accepts_no_others() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await hello(scope, receive, send)

    async with running(app) as (server, address), asyncio.TaskGroup() as tasks:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await begun.wait()
        stopping = tasks.create_task(server.stop(grace_s=30))
        await asyncio.sleep(0)
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await asyncio.open_connection(*address)
        assert not stopping.done()
        go_on.set()
        answer = await rest_of(reader)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"ok")
        writer.close()
        await stopping


async def test_a_request_that_was_sent_before_the_stop_is_answered() -> None:
    """Also when the server has not read it: a close would answer it with a reset."""
    async with running(hello) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await head_of(reader)
        await reader.readexactly(2)
        loop, fd = asyncio.get_running_loop(), writer.get_extra_info("socket").fileno()
        # All in one turn of a loop that was held up: the request comes, the linger is over.
        loop.call_later(0.0, time.sleep, 0.1)
        loop.call_later(0.02, os.write, fd, GET)
        async with asyncio.timeout(2):
            await server.stop(grace_s=30, linger_s=0.04)
        answer = await rest_of(reader)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer


async def test_a_kept_connection_is_told_in_its_next_answer_that_it_is_the_last() -> None:
    async with running(hello) as (server, address), asyncio.TaskGroup() as tasks:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        assert b"connection: close" not in await head_of(reader)
        await reader.readexactly(2)
        stopping = tasks.create_task(server.stop(grace_s=30, linger_s=30))
        await asyncio.sleep(0)
        writer.write(GET)
        assert b"connection: close" in await head_of(reader)
        assert await rest_of(reader) == b"ok"
        writer.close()
        await stopping


async def test_a_kept_connection_that_asks_nothing_more_is_closed_after_the_linger() -> None:
    async with running(hello) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await head_of(reader)
        await reader.readexactly(2)
        began_s = time.monotonic()
        await server.stop(grace_s=30, linger_s=0.1)
        assert 0.09 <= time.monotonic() - began_s < 5  # uvloop's timers count whole milliseconds
        assert await rest_of(reader) == b""
        writer.close()


async def test_a_connection_whose_answer_could_not_say_so_may_ask_once_more() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        begun.set()
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"ok"})

    async with running(app) as (server, address), asyncio.TaskGroup() as tasks:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await begun.wait()
        stopping = tasks.create_task(server.stop(grace_s=30, linger_s=30))
        await asyncio.sleep(0)
        go_on.set()
        assert b"connection: close" not in await head_of(reader)
        await reader.readexactly(2)
        writer.write(GET)
        assert b"connection: close" in await head_of(reader)
        assert await rest_of(reader) == b"ok"
        writer.close()
        await stopping


async def test_an_event_stream_that_is_asked_for_during_the_linger_ends_at_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with running(app) as (server, address), asyncio.TaskGroup() as tasks:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await head_of(reader)
        stopping = tasks.create_task(server.stop(grace_s=30, linger_s=30))
        assert await reader.readexactly(5) == b"0\r\n\r\n"
        writer.write(GET)
        await head_of(reader)
        assert await rest_of(reader) == b"0\r\n\r\n"
        writer.close()
        await stopping


async def test_servers_of_one_socket_take_turns_and_lose_no_request() -> None:
    if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        pytest.skip(
            "asyncio's own loop drops a connection that it accepts as its server closes; hosts run uvloop"
        )
    sock = tcp_socket()
    host, port = sock.getsockname()[:2]
    report = Report()

    async def ask(session: aiohttp.ClientSession, until: asyncio.Event) -> None:
        while not until.is_set():
            try:
                async with session.post(f"http://{host}:{port}/", data=b"x") as answer:
                    assert await answer.read() == b"ok"
                report.answered["post"] += 1
            except aiohttp.ClientError as exc:
                report.fail("post", exc)
            await asyncio.sleep(0.001)

    done = asyncio.Event()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as clients:
        server = HttpServer(hello, sock=sock, close_socket=False)
        await server.start()
        for _ in range(8):
            clients.create_task(ask(session, done))
        for _ in range(10):
            await asyncio.sleep(0.02)
            successor = HttpServer(hello, sock=sock, close_socket=False)
            await successor.start()
            await server.stop(grace_s=5, linger_s=0.5)
            server = successor
        done.set()
    await server.stop(grace_s=5)
    sock.close()
    assert not report.failures
    assert report.answered["post"] > 50


async def test_a_websocket_whose_client_is_sending_is_closed_properly() -> None:
    """What the client sent and nobody read must not turn the close into a reset."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with running(app) as (server, (host, port)), asyncio.TaskGroup() as tasks:
        async with connect(f"ws://{host}:{port}/", proxy=None) as client:
            for _ in range(100):
                await client.send("word")
            tasks.create_task(server.stop(grace_s=5))
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await client.send("word")
                    await asyncio.sleep(0)
        assert client.close_code == 1012


async def test_a_websocket_whose_application_sleeps_is_closed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket_connections, "FAREWELL_S", 0.05)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        await asyncio.Event().wait()

    async with running(app) as (server, (host, port)), asyncio.TaskGroup() as tasks:
        async with connect(f"ws://{host}:{port}/", proxy=None) as client:
            tasks.create_task(server.stop(grace_s=0.5))
            async with asyncio.timeout(5):
                await client.wait_closed()
        assert client.close_code == 1012


async def test_what_does_not_finish_in_time_is_cut() -> None:
    begun = asyncio.Event()
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async with running(app) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await begun.wait()
        async with asyncio.timeout(2):
            await server.stop(grace_s=0.05)
        assert ended == ["cancelled"]
        with contextlib.suppress(ConnectionResetError):
            assert await rest_of(reader) == b""
        writer.close()


async def test_stop_ends_event_streams_in_order() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    async with running(app) as (server, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await head_of(reader)
        async with asyncio.timeout(1):
            await server.stop(grace_s=30)
        assert await rest_of(reader) == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"
        writer.close()


@pytest.mark.parametrize("guarded", [False, True])
async def test_stop_ends_event_streams_that_only_send(guarded: bool) -> None:
    tick = asyncio.Event()
    errors: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await tick.wait()
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})

    guard = Guard(app, component="c", replica="c-1", on_error=lambda _, exc: errors.append(exc))
    async with running(guard if guarded else app) as (server, address), asyncio.TaskGroup() as tasks:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        await head_of(reader)
        stopping = tasks.create_task(server.stop(grace_s=30))
        await asyncio.sleep(0)
        tick.set()
        assert await rest_of(reader) == b"0\r\n\r\n"
        await asyncio.wait_for(stopping, 1)
        writer.close()
    assert not errors


@pytest.mark.parametrize("listens", [True, False])
async def test_stop_tells_websockets_to_come_again(listens: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the application only sends, and learns of it by an error."""
    stopped = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        if not listens:
            await stopped.wait()
            await send({"type": "websocket.send", "text": "tick"})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async with running(app) as (server, (host, port)), asyncio.TaskGroup() as tasks:
        async with connect(f"ws://{host}:{port}/") as client:
            stopping = tasks.create_task(server.stop(grace_s=5))
            await asyncio.sleep(0)
            stopped.set()
            await stopping
            with pytest.raises(ConnectionClosed):
                await client.recv()
        assert client.close_code == 1012
    assert not caplog.records


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_client_that_does_not_read_its_events_is_given_up(
    guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchanges, "FAREWELL_S", 0.1)
    sent: list[int] = []
    errors: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while True:
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
            sent.append(1)

    guard = Guard(app, component="c", replica="c-1", on_error=lambda _, exc: errors.append(exc))
    async with running(guard if guarded else app) as (server, address):
        with socket.create_connection(address) as client:
            client.sendall(GET)
            await eventually(lambda: sent)
            count = 0
            while count != len(sent):  # until nothing more fits
                count = len(sent)
                await asyncio.sleep(0.1)
            if guarded:
                guard.close_streams()
            async with asyncio.timeout(5):
                await server.stop(grace_s=30)
    assert not errors


async def test_the_next_server_takes_over_a_socket_that_stays_open(tmp_path: Path) -> None:
    """A connection made while nobody serves waits in the socket's queue."""
    path = tmp_path / "h.sock"
    sock = unix_socket(path)
    async with running(hello, sock=sock, close_socket=False):
        pass
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(GET)
    async with running(hello, sock=sock):
        assert (await head_of(reader)).startswith(b"HTTP/1.1 200")
        writer.close()
    assert sock.fileno() == -1
    assert path.exists()  # whoever bound it removes it


async def test_a_broken_answer_closes_the_connection() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ConnectionBroken("gone")

    async with running(app) as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET)
        answer = await rest_of(reader)
        assert answer.endswith(b"4\r\nhalf\r\n")  # no last chunk: the client knows
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length : 5\r\n",
    ],
)
async def test_a_request_with_two_lengths_is_refused(head: bytes) -> None:
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append(scope["path"])
        await hello(scope, receive, send)

    async with running(app) as (_, address):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(
            b"POST /a HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"
        )
        answer = await rest_of(reader)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400")
    assert "/smuggled" not in asked


async def test_an_idle_server_sets_no_timer() -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("only asyncio's own loop shows its timers")
    async with running(hello):
        timers: list[asyncio.TimerHandle] = vars(loop)["_scheduled"]
        assert not [timer for timer in timers if not timer.cancelled()]


async def test_an_answer_that_begins_as_its_client_leaves_troubles_nobody() -> None:
    """What is held back for the body finds its connection closed."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def late(scope: Any, receive: Any, send: Any) -> None:
        connection = send.__self__._send.__self__.transport
        while not connection.is_closing():  # noqa: ASYNC110 - there is no event for this very turn of the loop
            await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b""})
        answered.set()

    async with running(late) as (_, address):
        for _ in range(5):
            answered = asyncio.Event()
            _, writer = await asyncio.open_connection(*address)
            writer.write(GET)
            await asyncio.sleep(0.005)
            writer.close()
            async with asyncio.timeout(5):
                await answered.wait()
    assert not told
