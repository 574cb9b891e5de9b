"""Three agents, each a coroutine function that works until it is cancelled."""

import asyncio


async def work(context):
    print(f"{context.name} is at work", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        print(f"{context.name} has left", flush=True)
