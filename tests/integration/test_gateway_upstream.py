"""The gateway's connections to a replica, against one that speaks on the level of bytes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from components.gateway.answer import Answer
from contracts.component import Endpoint
from tests.support.gateway_stage import Stage, exchange, gateway_before
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run on uvloop, as hosts do."""
    return "asyncio", {"use_uvloop": True}


class Scripted:
    """A replica that answers each request of a connection with what comes next in its script.

    `None` closes the connection, once the request is there.
    """

    writer: asyncio.StreamWriter

    def __init__(self, script: list[bytes | None]) -> None:
        self.script = script
        self.connections = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.connections += 1
        self.open += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answer = self.script.pop(0)
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
                if b"until the end" in answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


@contextlib.asynccontextmanager
async def before(folder: Path, *script: bytes | None) -> AsyncIterator[tuple[Stage, Scripted]]:
    """Run a gateway before one scripted replica."""
    replica = Scripted([OK, *script])
    server = await asyncio.start_unix_server(replica.serve, path=str(folder / "1.sock"))
    async with gateway_before({}) as stage:
        stage.directory.set(Endpoint("writer", "writer-1", "/writer", True, f"unix://{folder}/1.sock"))
        await eventually(lambda: known(stage))
        yield stage, replica
    server.close()


async def known(stage: Stage) -> bool:
    """Use up the first answer, which leaves one open connection."""
    return (await ask(stage)).startswith(b"HTTP/1.1 200")


async def ask(stage: Stage, line: str = "GET /writer/x", *, body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return await exchange(
        stage, f"{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}\r\n".encode() + body
    )


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async with before(tmp_path, OK, OK) as (stage, replica):
        for _ in range(2):
            assert (await ask(stage)).endswith(b"\r\n\r\nok")
        assert replica.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        OK + b"noise",
    ],
    ids=["close", "http/1.0", "another answer", "noise"],
)
async def test_a_connection_that_may_carry_something_else_is_not(tmp_path: Path, answer: bytes) -> None:
    async with before(tmp_path, answer, OK) as (stage, replica):
        for _ in range(2):
            assert (await ask(stage)).endswith(b"\r\n\r\nok")
        assert replica.connections == 2


async def test_what_comes_unasked_on_a_free_connection_is_nobodys(tmp_path: Path) -> None:
    """It must not become the next client's answer."""
    async with before(tmp_path, OK) as (stage, replica):
        replica.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await eventually(lambda: replica.open == 0)
        assert (await ask(stage)).endswith(b"\r\n\r\nok")
        assert replica.connections == 2


async def test_an_answer_to_head_has_no_body_and_ends_the_connection(tmp_path: Path) -> None:
    """Whether a body follows by mistake is never known."""
    async with before(tmp_path, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", OK) as (stage, replica):
        head = await ask(stage, "HEAD /writer/x")
        assert b"content-length: 2" in head
        assert head.endswith(b"\r\n\r\n")
        assert (await ask(stage)).endswith(b"\r\n\r\nok")
        assert replica.connections == 2


async def test_interim_answers_are_not_the_answer(tmp_path: Path) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with before(tmp_path, interim + OK, OK) as (stage, replica):
        answer = await ask(stage)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"link" not in answer
        assert (await ask(stage)).endswith(b"ok")
        assert replica.connections == 1


async def test_a_body_without_a_length_ends_with_the_connection(tmp_path: Path) -> None:
    async with before(tmp_path, b"HTTP/1.1 200 OK\r\n\r\nuntil the end") as (stage, _):
        answer = await ask(stage)
        assert b"until the end" in answer
        assert answer.endswith(b"\r\n0\r\n\r\n")  # whole, as far as the client can tell


async def test_trailers_are_no_headers(tmp_path: Path) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n"
    async with before(tmp_path, chunked, OK) as (stage, replica):
        assert b"x-late" not in await ask(stage)
        assert (await ask(stage)).endswith(b"ok")
        assert replica.connections == 1


async def test_a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway(tmp_path: Path) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    async with before(tmp_path, switch) as (stage, _):
        assert (await ask(stage)).startswith(b"HTTP/1.1 502")


async def test_a_head_without_end_is_a_bad_gateway(tmp_path: Path) -> None:
    endless = b"HTTP/1.1 200 OK\r\n" + b"X-More: " + b"x" * (1 << 19)
    async with before(tmp_path, endless) as (stage, _):
        assert (await ask(stage)).startswith(b"HTTP/1.1 502")


class TestAConnectionClosedAsItIsTaken:
    """The replica may close a free connection at the moment in which the next request is on its way."""

    @pytest.mark.parametrize("line", ["GET /writer/x", "PUT /writer/x"])
    async def test_is_replaced_for_what_may_be_done_twice(self, tmp_path: Path, line: str) -> None:
        async with before(tmp_path, None, OK) as (stage, replica):
            body = b"hello" if line.startswith("PUT") else b""
            assert (await ask(stage, line, body=body)).endswith(b"\r\n\r\nok")
            assert replica.connections == 2

    async def test_is_the_end_of_what_may_not(self, tmp_path: Path) -> None:
        async with before(tmp_path, None, OK) as (stage, replica):
            assert (await ask(stage, "POST /writer/x", body=b"hello")).startswith(b"HTTP/1.1 502")
            assert replica.connections == 1

    async def test_is_replaced_once(self, tmp_path: Path) -> None:
        async with before(tmp_path, None, None, OK) as (stage, replica):
            assert (await ask(stage)).startswith(b"HTTP/1.1 502")
            assert replica.connections == 2


async def test_a_connection_that_the_replica_closes_is_forgotten(tmp_path: Path) -> None:
    """Even a request that may not be sent twice finds an open one."""
    async with before(tmp_path, b"HTTP/1.1 200 OK\r\n\r\nuntil the end", OK) as (stage, replica):
        await ask(stage)
        await eventually(lambda: replica.open == 0)
        assert (await ask(stage, "POST /writer/x", body=b"")).endswith(b"\r\n\r\nok")


async def test_no_connection_is_left_when_the_gateway_stops(tmp_path: Path) -> None:
    async with before(tmp_path) as (_, replica):
        assert replica.open == 1
    await eventually(lambda: replica.open == 0)


async def test_a_request_that_breaks_replicas_puts_two_at_risk_over_kept_connections_too(
    tmp_path: Path,
) -> None:
    """A replica that breaks on a kept connection, and is gone when it is asked again, counts as broken."""
    broken: set[int] = set()
    async with contextlib.AsyncExitStack() as stack:
        endpoints: list[Endpoint] = []
        servers: dict[int, asyncio.Server] = {}
        for number in range(5):
            place = str(tmp_path / f"{number}.sock")

            async def serve(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int = number
            ) -> None:
                with contextlib.suppress(asyncio.IncompleteReadError):
                    while b"poison" not in await reader.readuntil(b"\r\n\r\n"):
                        writer.write(OK)
                    broken.add(number)
                    servers[number].close()
                writer.close()

            servers[number] = await asyncio.start_unix_server(serve, path=place)
            stack.callback(servers[number].close)
            endpoints.append(Endpoint("writer", f"writer-{number}", "/writer", True, f"unix://{place}"))
        stage = await stack.enter_async_context(gateway_before({}))
        stage.directory.set(*endpoints)
        await eventually(lambda: known(stage))
        for _ in range(10):  # they take turns: each has a kept connection then
            await ask(stage)
        assert (await ask(stage, "GET /writer/poison")).startswith(b"HTTP/1.1 502")
    assert len(broken) == 2


async def test_an_answer_that_begins_as_its_time_runs_out_is_whole(tmp_path: Path) -> None:
    """The head is in the same turn of the loop as the deadline, which is told of first."""

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.15)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await writer.drain()
        time.sleep(0.1)  # noqa: ASYNC251 - the loop stands still: both are due when it goes on
        await asyncio.sleep(0.1)
        writer.write(b"cd")

    server = await asyncio.start_unix_server(late, path=str(tmp_path / "1.sock"))
    async with server, gateway_before({}, config={"header_timeout_s": 0.2}) as stage:
        stage.directory.set(Endpoint("writer", "writer-1", "/writer", True, f"unix://{tmp_path}/1.sock"))
        answer = await eventually(lambda: answered(stage))
        assert answer.endswith(b"abcd")
        assert not stage.errors


async def answered(stage: Stage) -> bytes | None:
    answer = await ask(stage)
    return None if answer.startswith(b"HTTP/1.1 404") else answer


async def test_an_early_answer_that_ends_with_the_connection_is_whole(tmp_path: Path) -> None:
    """A replica may refuse an upload, and end its side while the body is still on its way."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\n\r\ntoo large")
        writer.write_eof()
        if b"POST" in head:
            await asyncio.sleep(0.1)
        writer.transport.abort()

    server = await asyncio.start_unix_server(refuse, path=str(tmp_path / "1.sock"))
    async with server, gateway_before({}) as stage:
        stage.directory.set(Endpoint("writer", "writer-1", "/writer", True, f"unix://{tmp_path}/1.sock"))
        await eventually(lambda: answered(stage))
        reader, writer = await asyncio.open_connection(stage.host, stage.port)
        length = 5 << 20
        writer.write(b"POST /writer/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
        writer.write(bytes(length))
        async with asyncio.timeout(10):
            answer = await reader.readuntil(b"\r\n0\r\n\r\n")  # the end that a broken one has not
        writer.transport.abort()
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"too large" in answer


async def test_a_failed_request_leaves_no_cycle_of_references(tmp_path: Path) -> None:
    async with before(tmp_path, *[None] * 20) as (stage, _):
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                await ask(stage, "POST /writer/x", body=b"hello")
            await asyncio.sleep(0)
            left = [each for each in gc.get_objects() if isinstance(each, Answer)]
        finally:
            gc.enable()
        assert len(left) <= 1
