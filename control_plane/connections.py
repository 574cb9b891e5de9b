"""Connections to Redis and Valkey: one place that reads URLs and explains failures.

Answers are text, in the older protocol (RESP2), whose shapes every server version shares. No command
waits without a deadline, and a caller that finds every connection in use waits for one.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from redis import exceptions as redis_errors
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection

from contracts.errors import BusError, BusUnavailable

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 16
OLDEST = 7  # counts of appended entries and of a group's lag came with it

_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*")

_FOR_NOW = (
    redis_errors.ConnectionError,
    redis_errors.TimeoutError,
    redis_errors.ReadOnlyError,
    redis_errors.ClusterDownError,
    redis_errors.OutOfMemoryError,
    redis_errors.TryAgainError,
    OSError,
)


def connect(url: str, *, max_connections: int = MAX_CONNECTIONS) -> Redis:
    """Return a client for redis://, rediss:// or unix://; it connects on first use.

    Raises:
        BusError: the URL cannot be read (E4003).
    """
    return Redis.from_pool(_pool(BlockingConnectionPool, url, max_connections, timeout=ANSWER_TIMEOUT_S))


class Dialer:
    """Makes connections that their owner alone uses, all to one server."""

    def __init__(self, url: str) -> None:
        self._pool = _pool(ConnectionPool, url, MAX_CONNECTIONS)

    def __call__(self) -> AbstractConnection:
        """Return a connection, not yet open."""
        connection: AbstractConnection = self._pool.make_connection()
        return connection


def redact(url: str) -> str:
    """Return the URL without its password."""
    parts = urlsplit(_PASSWORD.sub("***", url))
    user, _, host = parts.netloc.rpartition("@")
    if user:
        parts = parts._replace(netloc=f"{user.partition(':')[0]}:***@{host}")
    # urlunsplit would drop the empty authority of unix:///path.
    return f"{parts.scheme}://{parts.netloc}{_tail(parts)}"


def bus_error(exc: Exception, url: str) -> BusError:
    """Say what a failed command means for the caller: E4001 try again, E4002 credentials, E4003 refused."""
    address = redact(url)
    if exc.args and isinstance(exc.args[0], Exception):
        exc = exc.args[0]  # redis-py wraps what goes wrong in the greeting on a Unix socket
    why = str(exc) or type(exc).__name__
    # A long command without credentials is no command to the server ("Protocol error: unauthenticated ...").
    if (
        isinstance(exc, redis_errors.AuthenticationError)
        or "unauthenticated" in why
        or why.startswith("NOAUTH")
    ):
        return BusError(
            f"the bus at {address} refused the credentials",
            why=why,
            fix="check user and password in [bus] url",
            code="E4002",
        )
    if isinstance(exc, _FOR_NOW) or why.startswith(("BUSY", "MISCONF", "UNBLOCKED")):
        return BusUnavailable(
            f"no usable bus at {address}", why=why, fix="check that the server runs and [bus] url"
        )
    return BusError(f"the bus at {address} refused a command", why=why, code="E4003")


async def check(url: str, *, timeout_s: float = 3.0) -> None:
    """Return when a bus that is new enough answers.

    Raises:
        BusError: it cannot be reached (E4001), refused the credentials (E4002), or is too old (E4003).
    """
    client = connect(url, max_connections=1)
    try:
        async with asyncio.timeout(timeout_s):
            await _ping(client, url)
    except TimeoutError as exc:
        raise bus_error(redis_errors.TimeoutError(f"no answer within {timeout_s:g} s"), url) from exc
    except (redis_errors.RedisError, OSError) as exc:
        raise bus_error(exc, url) from exc
    finally:
        await client.aclose()


async def _ping(client: Redis, url: str) -> None:
    version = str((await client.info("server")).get("redis_version", OLDEST))
    if int(version.partition(".")[0]) < OLDEST:
        raise BusError(
            f"the server at {redact(url)} is too old: {version}",
            fix=f"use Redis {OLDEST} or newer, or any Valkey",
            code="E4003",
        )


def _tail(parts: SplitResult) -> str:
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.path}{query}"


def _pool(kind: type[ConnectionPool], url: str, max_connections: int, **options: Any) -> Any:
    try:
        return kind.from_url(
            url,
            max_connections=max_connections,
            decode_responses=True,
            # Anybody may write to a stream; what is no text must not stop its reader.
            encoding_errors="backslashreplace",
            protocol=2,
            # No time limit of redis-py's own: it sends under `asyncio.wait_for`, which on Python 3.11 loses
            # a cancellation that comes in the same turn as the answer. Callers use `asyncio.timeout`.
            socket_timeout=None,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            driver_info=None,
            **options,
        )
    except ValueError as exc:
        raise BusError(
            f"cannot read the bus URL {redact(url)!r}",
            why=str(exc),
            fix="use redis://host:port/db, rediss://host:port/db or unix:///path",
            code="E4003",
        ) from exc
