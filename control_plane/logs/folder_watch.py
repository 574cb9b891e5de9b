"""Tells when something is written in a folder, without looking again and again.

Linux tells through inotify. Where it cannot (macOS, or every inotify instance of the user is taken),
the folder counts as changed every `POLL_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import AsyncGenerator
from pathlib import Path

POLL_S = 0.5
BATCH_S = 0.05  # a busy log costs twenty looks a second, not one for each line
READ_BYTES = 65_536

# linux/inotify.h
IN_MODIFY = 0x002
IN_MOVED_TO = 0x080
IN_CREATE = 0x100


async def changes(folder: Path) -> AsyncGenerator[None, None]:
    """Yield at once, and then after each burst of changes in the folder."""
    with contextlib.ExitStack() as cleanup:
        watch_fd = _watch(folder)
        changed = asyncio.Event()
        if watch_fd is not None:
            cleanup.callback(os.close, watch_fd)
            _signal(changed, watch_fd, cleanup)
        while True:
            yield
            if watch_fd is None:
                await asyncio.sleep(POLL_S)
                continue
            await changed.wait()
            await asyncio.sleep(BATCH_S)
            changed.clear()


def _signal(changed: asyncio.Event, watch_fd: int, cleanup: contextlib.ExitStack) -> None:
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(watch_fd, READ_BYTES)
        changed.set()

    loop.add_reader(watch_fd, on_readable)
    cleanup.callback(loop.remove_reader, watch_fd)


def _watch(folder: Path) -> int | None:
    """Return a descriptor that becomes readable when the folder changes, or None."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        return None
    watch_fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if watch_fd < 0:
        return None
    if libc.inotify_add_watch(watch_fd, os.fsencode(folder), IN_MODIFY | IN_MOVED_TO | IN_CREATE) < 0:
        os.close(watch_fd)
        return None
    return watch_fd
