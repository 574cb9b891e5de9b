"""URLs of the bus, and what its failures mean."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from redis import exceptions as redis_errors

from contracts.errors import BusError
from control_plane.brokers import BusUnavailable, open_transport
from control_plane.connections import bus_error, check, connect, redact
from tests.support.redis_servers import running_server

pytestmark = pytest.mark.anyio


class TestRedacting:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("redis://host:6379/0", "redis://host:6379/0"),
            ("redis://:secret@host/0", "redis://:***@host/0"),
            ("rediss://me:s@cr@t@host:1/0", "rediss://me:***@host:1/0"),
            ("unix:///run/bus.sock", "unix:///run/bus.sock"),
            ("unix://me:secret@/run/bus.sock?db=1", "unix://me:***@/run/bus.sock?db=1"),
            ("redis://host/0?password=secret&db=1", "redis://host/0?password=***&db=1"),
        ],
    )
    def test_hides_the_password_and_nothing_else(self, url: str, shown: str) -> None:
        assert redact(url) == shown

    async def test_a_transport_shows_no_password(self) -> None:
        transport = await open_transport("redis://me:secret@host/0")
        assert transport.url == "redis://me:***@host/0"
        await transport.close()


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (redis_errors.ConnectionError("refused"), "E4001"),
            (redis_errors.BusyLoadingError("LOADING the dataset"), "E4001"),
            (redis_errors.ReadOnlyError("a replica"), "E4001"),
            (redis_errors.OutOfMemoryError("command not allowed"), "E4001"),
            (OSError("broken pipe"), "E4001"),
            (redis_errors.AuthenticationError("WRONGPASS"), "E4002"),
            (redis_errors.ResponseError("Protocol error: unauthenticated multibulk length"), "E4002"),
            (redis_errors.NoPermissionError("no permissions"), "E4003"),
            (redis_errors.ResponseError("unknown command"), "E4003"),
        ],
        ids=lambda value: value if isinstance(value, str) else type(value).__name__,
    )
    def test_have_the_code_of_what_can_be_done(self, error: Exception, code: str) -> None:
        explained = bus_error(error, "redis://:secret@host")
        assert explained.code == code
        assert isinstance(explained, BusUnavailable) == (code == "E4001")
        assert "secret" not in str(explained)


class TestChecking:
    async def test_nobody_there(self) -> None:
        with pytest.raises(BusError, match=r"E4001 no usable bus at unix:///tmp/ctl-nobody\.sock"):
            await check("unix:///tmp/ctl-nobody.sock")

    async def test_somebody_who_never_answers(self) -> None:
        silent = socket.create_server(("127.0.0.1", 0))
        with silent, pytest.raises(BusError, match=r"E4001 .*within 0\.2 s"):
            await check(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)

    async def test_a_wrong_password(self, tmp_path: Path) -> None:
        with running_server("valkey", tmp_path) as server:
            await check(server.url)
            async with connect(server.url) as client:
                await client.config_set("requirepass", "right")
            with pytest.raises(BusError) as refused:
                await check(server.url)
            assert refused.value.code == "E4002"
            with pytest.raises(BusError) as refused:
                await check(server.url.replace("unix://", "unix://:wrong@"))
            assert refused.value.code == "E4002"
            await check(server.url.replace("unix://", "unix://:right@"))

    @pytest.mark.parametrize("url", ["http://host", "redis://host:port"])
    async def test_an_unreadable_url(self, url: str) -> None:
        with pytest.raises(BusError, match="E4003"):
            await open_transport(url)

    async def test_a_server_that_is_too_old(self) -> None:
        """It would fail later, in the middle of a delivery."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1000)
            body = b"# Server\r\nredis_version:6.2.14\r\n"
            writer.write(b"$%d\r\n%s\r\n" % (len(body), body))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(BusError, match=r"too old: 6\.2\.14"):
                await check(f"redis://127.0.0.1:{port}")
