"""Wait for a condition with a deadline: the only way tests synchronise."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any


async def eventually(
    predicate: Callable[[], Any | Awaitable[Any]], timeout_s: float = 5.0, *, every_s: float = 0.01
) -> Any:
    """Return the first truthy value of `predicate`; fail after `timeout_s` with what it last said."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout_s} s; last value: {value!r}")
        await asyncio.sleep(every_s)


def wait_until(predicate: Callable[[], Any], timeout_s: float = 5.0, *, every_s: float = 0.02) -> Any:
    """Return the first truthy value of `predicate`; fail after `timeout_s` with what it last said."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout_s} s; last value: {value!r}")
        time.sleep(every_s)
