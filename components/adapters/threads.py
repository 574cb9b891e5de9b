"""Blocking code beside an event loop, in threads that no end of the process waits for."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_thread(func: Callable[[], T], *, name: str) -> T:
    """Run a function in a thread of its own, and return what it returns.

    Not one of the loop's executor: that is joined at the end of the process, and what blocks until it is
    stopped would hold the end up. A cancelled caller leaves the thread behind.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, fault: BaseException | None) -> None:
        if done.done():
            return
        if fault is not None:
            done.set_exception(fault if not isinstance(fault, StopIteration) else RuntimeError(repr(fault)))
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, fault = None, None
        try:
            result = func()
        except BaseException as exc:  # whoever waits for it is told, SystemExit too
            fault = exc
        with contextlib.suppress(RuntimeError):  # the loop is gone
            loop.call_soon_threadsafe(settle, result, fault)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name=name, daemon=True).start()
    return await done
