"""What becomes of a request when a replica breaks, hangs, drains or is not there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contracts.component import Endpoint
from tests.support.gateway_stage import (
    Stage,
    Where,
    exchange,
    gateway_before,
    serving,
    tcp_socket,
    unix_socket,
)
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

WHERE: list[Where] = ["local", "remote"]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on uvloop, as hosts do."""
    return "asyncio", {"use_uvloop": True}


def naming(name: str) -> Any:
    """Return an application that reads its body and answers with a name."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-length", b"%d" % len(name))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": name.encode()})

    return app


async def hang(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


def request(method: str = "GET", *, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} /writer/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}\r\n".encode() + body


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def code_of(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    code: str = json.loads(body)["code"]
    return code


def writer_at(place: Path | str, number: int = 1) -> Endpoint:
    address = place if isinstance(place, str) else f"unix://{place}"
    return Endpoint("writer", f"writer-{number}", "/writer", True, address)


@contextlib.asynccontextmanager
async def breaking(
    path: Path, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
) -> AsyncIterator[None]:
    """Run a replica that speaks on the level of bytes."""
    server = await asyncio.start_unix_server(answer, path=str(path))
    try:
        yield
    finally:
        server.close()


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read the request, then close without a word."""
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


class TestNoReplica:
    @pytest.mark.parametrize("where", WHERE)
    async def test_a_component_whose_replicas_are_gone_is_not_ready(self, where: Where) -> None:
        async with gateway_before({"writer": naming("w")}, where=where) as stage:
            stage.directory.set()
            answer = await eventually(lambda: asked(stage, 503))
        assert code_of(answer) == "E5010"
        assert b"\r\nretry-after: 1\r\n" in answer

    async def test_the_table_follows_the_directory(self, tmp_path: Path) -> None:
        async with gateway_before({"writer": naming("first")}) as stage:
            assert (await exchange(stage, request())).endswith(b"first")
            async with serving(naming("second"), unix_socket(tmp_path / "2.sock")):
                stage.directory.set(writer_at(tmp_path / "2.sock", 2))
                await eventually(lambda: asked(stage, 200, ending=b"second"))

    async def test_what_a_gone_replica_has_in_flight_is_finished(self) -> None:
        go_on = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()
            await naming("finished")(scope, receive, send)

        async with gateway_before({"writer": slow}) as stage, asyncio.TaskGroup() as tasks:
            running = tasks.create_task(exchange(stage, request()))
            await eventually(lambda: stage.guards["writer-1"].in_flight)
            stage.directory.set()
            await eventually(lambda: asked(stage, 503))
            go_on.set()
            assert (await running).endswith(b"finished")


async def knows_writer(stage: Stage) -> bool:
    """Tell whether the gateway has seen that there is a writer."""
    return status_of(await exchange(stage, b"HEAD /writer/x HTTP/1.1\r\nConnection: close\r\n\r\n")) != 404


async def asked(stage: Stage, status: int, *, ending: bytes = b"") -> bytes | None:
    answer = await exchange(stage, request())
    return answer if status_of(answer) == status and answer.endswith(ending) else None


class TestLate:
    @pytest.mark.parametrize("where", WHERE)
    async def test_a_replica_that_does_not_begin_to_answer_is_given_up(self, where: Where) -> None:
        config = {"header_timeout_s": 0.1}
        async with gateway_before({"writer": hang}, where=where, config=config) as stage:
            answer = await exchange(stage, request())
            assert (status_of(answer), code_of(answer)) == (504, "E5011")
            await eventually(lambda: stage.guards["writer-1"].in_flight == (0 if where == "local" else 1))

    @pytest.mark.parametrize("where", WHERE)
    async def test_an_answer_that_has_begun_may_take_its_time(self, where: Where) -> None:
        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(0.3)  # three times the limit
            await send({"type": "http.response.body", "body": b"done"})

        config = {"header_timeout_s": 0.1}
        async with gateway_before({"writer": slow}, where=where, config=config) as stage:
            assert b"done" in await exchange(stage, request())

    @pytest.mark.parametrize("where", WHERE)
    async def test_a_client_that_sends_slowly_is_not_the_replicas_fault(self, where: Where) -> None:
        config = {"header_timeout_s": 0.1}
        async with gateway_before({"writer": naming("patient")}, where=where, config=config) as stage:
            reader, writer = await asyncio.open_connection(stage.host, stage.port)
            head = b"POST /writer/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
            for part in (head, b"ab", b"cd"):
                writer.write(part)
                await asyncio.sleep(0.15)  # longer than a replica may take
            assert (await reader.read()).endswith(b"patient")
            writer.close()


class TestBroken:
    async def test_nobody_listening_is_a_bad_gateway(self, tmp_path: Path) -> None:
        async with gateway_before({"other": hang}) as stage:
            stage.directory.set(writer_at(tmp_path / "none.sock"))
            answer = await eventually(lambda: asked(stage, 502))
        assert code_of(answer) == "E5012"

    async def test_a_replica_that_hangs_up_is_a_bad_gateway(self, tmp_path: Path) -> None:
        async with breaking(tmp_path / "1.sock", hang_up), gateway_before({"other": hang}) as stage:
            stage.directory.set(writer_at(tmp_path / "1.sock"))
            answer = await eventually(lambda: asked(stage, 502))
        assert code_of(answer) == "E5012"

    async def test_an_answer_that_is_no_http_is_a_bad_gateway(self, tmp_path: Path) -> None:
        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"what?\r\n\r\n")
            writer.close()

        async with breaking(tmp_path / "1.sock", babble), gateway_before({"other": hang}) as stage:
            stage.directory.set(writer_at(tmp_path / "1.sock"))
            answer = await eventually(lambda: asked(stage, 502))
        assert code_of(answer) == "E5012"

    @pytest.mark.parametrize(
        "framing", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
    )
    async def test_a_replica_killed_in_its_answer_leaves_no_whole_answer(
        self, tmp_path: Path, framing: bytes
    ) -> None:
        async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n" + framing)
            await writer.drain()
            writer.transport.abort()

        async with breaking(tmp_path / "1.sock", die), gateway_before({"other": hang}) as stage:
            stage.directory.set(writer_at(tmp_path / "1.sock"))
            await eventually(lambda: knows_writer(stage))
            async with aiohttp.ClientSession() as client, client.get(f"{stage.url}/writer/x") as answer:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.read()
            assert not stage.errors


class TestAnotherReplica:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_is_asked_where_no_connection_came_about(self, tmp_path: Path, method: str) -> None:
        async with (
            serving(naming("alive"), unix_socket(tmp_path / "2.sock")),
            gateway_before({"o": hang}) as stage,
        ):
            stage.directory.set(writer_at(tmp_path / "none.sock", 1), writer_at(tmp_path / "2.sock", 2))
            await eventually(lambda: asked(stage, 200))
            for _ in range(4):
                body = b"" if method == "GET" else b"hello"
                assert (await exchange(stage, request(method, body=body))).endswith(b"alive")

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_is_found_among_any_number_that_are_gone(self, tmp_path: Path, method: str) -> None:
        """The news of a death may come late, where the bus was away."""
        gone = [writer_at(tmp_path / f"none-{number}.sock", number) for number in range(2, 6)]
        async with (
            serving(naming("alive"), unix_socket(tmp_path / "1.sock")),
            gateway_before({"o": hang}) as stage,
        ):
            stage.directory.set(writer_at(tmp_path / "1.sock", 1), *gone)
            await eventually(lambda: asked(stage, 200))
            for _ in range(10):
                assert (await exchange(stage, request(method, body=b"hello"))).endswith(b"alive")

    async def test_is_not_broken_too_by_what_broke_two(self, tmp_path: Path) -> None:
        broken: set[int] = set()

        def breaks(number: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
            async def breaking_down(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                broken.add(number)
                await hang_up(reader, writer)

            return breaking_down

        async with contextlib.AsyncExitStack() as stack:
            for number in (1, 2, 3):
                place = tmp_path / f"{number}.sock"
                await stack.enter_async_context(breaking(place, breaks(number)))
            stage = await stack.enter_async_context(gateway_before({"o": hang}))
            stage.directory.set(*(writer_at(tmp_path / f"{number}.sock", number) for number in (1, 2, 3)))
            await eventually(lambda: knows_writer(stage))
            broken.clear()
            assert code_of(await exchange(stage, request())) == "E5012"
            assert len(broken) == 2

    @pytest.mark.parametrize(
        ("method", "repeated"), [("GET", True), ("PUT", True), ("POST", False), ("PATCH", False)]
    )
    async def test_is_asked_again_only_what_may_be_done_twice(
        self, tmp_path: Path, method: str, repeated: bool
    ) -> None:
        """A broken connection leaves open whether the first replica has done it."""
        async with (
            breaking(tmp_path / "1.sock", hang_up),
            serving(naming("alive"), unix_socket(tmp_path / "2.sock")),
            gateway_before({"o": hang}) as stage,
        ):
            stage.directory.set(writer_at(tmp_path / "1.sock", 1), writer_at(tmp_path / "2.sock", 2))
            await eventually(lambda: asked(stage, 200))
            answers = {status_of(await exchange(stage, request(method, body=b"hello"))) for _ in range(4)}
        assert answers == ({200} if repeated else {200, 502})

    async def test_does_not_get_a_body_that_was_partly_sent(self, tmp_path: Path) -> None:
        """Even where the method may be repeated: part of the body is no longer here."""
        async with (
            breaking(tmp_path / "1.sock", hang_up),
            serving(naming("alive"), unix_socket(tmp_path / "2.sock")),
            gateway_before({"o": hang}) as stage,
        ):
            stage.directory.set(writer_at(tmp_path / "1.sock", 1), writer_at(tmp_path / "2.sock", 2))
            await eventually(lambda: asked(stage, 200))
            head = b"PUT /writer/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            chunked = head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
            answers = {status_of(await exchange(stage, chunked)) for _ in range(4)}
        assert answers == {200, 502}

    async def test_is_one_of_the_present_table(self, tmp_path: Path) -> None:
        """The one that was there when the request came may have been replaced since."""
        asked_first, die = asyncio.Event(), asyncio.Event()

        async def die_late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked_first.set()
            await die.wait()
            writer.close()

        first, second, third = (writer_at(tmp_path / f"{n}.sock", n) for n in (1, 2, 3))
        async with (
            breaking(tmp_path / "1.sock", die_late),
            breaking(tmp_path / "2.sock", die_late),
            serving(naming("alive"), unix_socket(tmp_path / "3.sock")),
            gateway_before({"o": hang}) as stage,
            asyncio.TaskGroup() as tasks,
        ):
            stage.directory.set(first, second)
            running = tasks.create_task(eventually(lambda: asked(stage, 200, ending=b"alive")))
            await asked_first.wait()
            stage.directory.set(third)
            await eventually(lambda: asked(stage, 200, ending=b"alive"))
            die.set()
            await running
        assert not stage.errors

    @pytest.mark.parametrize("where", WHERE)
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_takes_over_from_one_that_drains(self, where: Where, method: str) -> None:
        """Between the drain and the news of it, no client notices."""
        apps = {"writer/writer-1": naming("one"), "writer/writer-2": naming("two")}
        async with gateway_before(apps, where=where) as stage:
            stage.guards["writer-1"].drain()
            for _ in range(4):
                assert (await exchange(stage, request(method, body=b"hello"))).endswith(b"two")

    @pytest.mark.parametrize("where", WHERE)
    async def test_the_last_one_that_drains_is_not_ready(self, where: Where) -> None:
        async with gateway_before({"writer": naming("one")}, where=where) as stage:
            stage.guards["writer-1"].drain()
            answer = await exchange(stage, request())
        assert (status_of(answer), code_of(answer)) == (503, "E5010")
        assert b"coplane-refused" not in answer

    @pytest.mark.parametrize("where", WHERE)
    async def test_gets_the_request_while_the_first_is_busy(self, where: Where) -> None:
        busy = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await busy.wait()
            await naming("one")(scope, receive, send)

        apps = {"writer/writer-1": slow, "writer/writer-2": naming("two")}
        async with gateway_before(apps, where=where) as stage, asyncio.TaskGroup() as tasks:
            held = tasks.create_task(exchange(stage, request()))
            await eventually(lambda: stage.guards["writer-1"].in_flight)
            for _ in range(3):
                assert (await exchange(stage, request())).endswith(b"two")
            busy.set()
            assert (await held).endswith(b"one")


async def test_a_replica_may_listen_on_tcp() -> None:
    sock = tcp_socket()
    host, port = sock.getsockname()
    async with serving(naming("over tcp"), sock), gateway_before({"o": hang}) as stage:
        stage.directory.set(writer_at(f"tcp://{host}:{port}"))
        assert await eventually(lambda: asked(stage, 200, ending=b"over tcp"))


async def test_a_replica_that_accepts_nothing_is_not_waited_for(tmp_path: Path) -> None:
    """A full queue of connections must not hold clients for ever."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "1.sock"))
    sock.listen(1)
    async with gateway_before({"o": hang}, config={"header_timeout_s": 0.2}) as stage:
        stage.directory.set(writer_at(tmp_path / "1.sock"))
        await eventually(lambda: asked(stage, 504))
    sock.close()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ],
)
async def test_a_smuggled_request_reaches_nobody(head: bytes) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await naming("w")(scope, receive, send)

    async with gateway_before({"writer": app}) as stage:
        smuggled = b"0\r\n\r\nGET /writer/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        answer = await exchange(stage, b"POST /writer/x HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n" + smuggled)
    assert status_of(answer) == 400
    assert "/writer/smuggled" not in seen
