"""A replica in a process of its own, to be killed in the middle of a message.

Run as `python -m tests.conformance.broker.doomed URL REPLICA`; says `got NUMBER` for each message it
begins, and finishes none.
"""

from __future__ import annotations

import asyncio
import sys

from control_plane.brokers import BusBroker, open_transport


async def main(url: str, replica: str) -> None:
    """Take messages until killed."""
    transport = await open_transport(url)
    broker = BusBroker(app="novel", component="writer", replica=replica, transport=transport)

    @broker.subscriber("chapters", concurrency=2)
    async def write(chapter: dict[str, int]) -> None:
        print(f"got {chapter['number']}", flush=True)
        await asyncio.Event().wait()

    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
