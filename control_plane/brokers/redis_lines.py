"""Connections of the Redis transport: one that all commands share, and one for each blocking read.

A connection whose answer did not arrive in full is dropped, never reused: an answer that comes late
would be taken for that of the next command. So cancelling a caller loses no answer of another, and
what a cancelled read had fetched stays pending on the server under the consumer's name.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from hiredis import pack_command
from redis import exceptions as redis_errors
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

Dial = Callable[[], AbstractConnection]
Command = tuple[Any, ...]

COMMANDS_AT_ONCE = 256
ANSWER_TIMEOUT_S = 5.0


class SharedLine:
    """One connection for any number of callers; what is asked meanwhile goes out together next."""

    def __init__(self, dial: Dial) -> None:
        self._connection = dial()
        self._asked: deque[tuple[bytes, asyncio.Future[Any]]] = deque()
        self._talking: asyncio.Task[None] | None = None
        self._closed = False

    async def ask(self, *command: Any) -> Any:
        """Send a command and return its answer."""
        if self._closed:
            raise _closed()
        # Packed here, so that what cannot be sent fails its caller alone, not the whole batch.
        packed = packed_command(command)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.append((packed, answer))
        if self._talking is None or self._talking.done():
            self._talking = asyncio.create_task(self._talk(), name="bus-commands")
        return await answer

    async def close(self) -> None:
        """Give up what is under way and disconnect."""
        self._closed = True
        if self._talking is not None:
            self._talking.cancel()
            with suppress(asyncio.CancelledError):
                await self._talking
        _fail(self._asked, _closed())
        self._asked.clear()
        await self._connection.disconnect()

    async def _talk(self) -> None:
        while self._asked:
            batch = [self._asked.popleft() for _ in range(min(len(self._asked), COMMANDS_AT_ONCE))]
            try:
                await self._exchange(batch)
            except (RedisError, OSError) as exc:
                await self._connection.disconnect(nowait=True)
                _fail(batch, exc)
            except asyncio.CancelledError:
                _fail(batch, _closed())
                raise

    async def _exchange(self, batch: list[tuple[bytes, asyncio.Future[Any]]]) -> None:
        await open_fresh(self._connection)
        packed = b"".join(command for command, _ in batch)
        async with answer_within(ANSWER_TIMEOUT_S):
            await self._connection.send_packed_command(packed)
            for _, answer in batch:
                await self._read_one(answer)

    async def _read_one(self, answer: asyncio.Future[Any]) -> None:
        try:
            value = await self._connection.read_response()
        except ResponseError as exc:
            _settle(answer, exc)
        else:
            if not answer.done():
                answer.set_result(value)


class BlockingLines:
    """A connection of its own for every read that waits; kept for the next one."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._idle: list[AbstractConnection] = []
        self._busy: set[AbstractConnection] = set()
        self._closed = False

    async def ask(self, *command: Any, block_s: float) -> Any:
        """Send a command that the server may take `block_s` to answer, and return the answer."""
        if self._closed:
            raise _closed()
        connection = self._idle.pop() if self._idle else self._dial()
        self._busy.add(connection)
        try:
            answer = await self._exchange(connection, command, block_s)
        except ResponseError:
            self._idle.append(connection)
            raise
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        finally:
            self._busy.discard(connection)
        self._idle.append(connection)
        return answer

    async def close(self) -> None:
        """Disconnect; a read under way ends with a connection error."""
        self._closed = True
        for connection in (*self._idle, *self._busy):
            await connection.disconnect(nowait=True)
        self._idle.clear()

    async def _exchange(self, connection: AbstractConnection, command: Command, block_s: float) -> Any:
        await open_fresh(connection)
        async with answer_within(block_s + ANSWER_TIMEOUT_S):
            await connection.send_packed_command(packed_command(command))
            return await connection.read_response()


def packed_command(command: Command) -> bytes:
    """Return a command as it goes over the wire.

    Raises:
        DataError: it holds something that is neither text, nor bytes, nor a number.
    """
    try:
        packed: bytes = pack_command(command)
    except (TypeError, UnicodeEncodeError) as exc:
        raise redis_errors.DataError(str(exc)) from exc
    return packed


class answer_within:  # noqa: N801 - it is used as asyncio.timeout is
    """Turns an answer that does not come within `timeout_s` into a connection error."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout = asyncio.timeout(timeout_s)
        self._timeout_s = timeout_s

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._timeout.__aexit__(*raised)
        except TimeoutError as exc:
            raise redis_errors.ConnectionError(f"no answer within {self._timeout_s:g} s") from exc


async def open_fresh(connection: AbstractConnection) -> None:
    """Connect, anew where the server has hung up since the last answer."""
    if connection.is_connected:
        if not await connection.can_read():
            return
        await connection.disconnect(nowait=True)
    opening: Awaitable[None] = connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no type for it
    async with answer_within(ANSWER_TIMEOUT_S):
        await opening


def _closed() -> redis_errors.ConnectionError:
    return redis_errors.ConnectionError("the transport is closed")


def _fail(batch: Iterable[tuple[bytes, asyncio.Future[Any]]], exc: Exception) -> None:
    for _, answer in batch:
        _settle(answer, exc)


def _settle(answer: asyncio.Future[Any], exc: Exception) -> None:
    if not answer.done():
        answer.set_exception(exc)
