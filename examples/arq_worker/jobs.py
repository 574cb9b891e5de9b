"""An arq worker as it is: `arq jobs.WorkerSettings`. Its queue is a Redis of its own."""

import os

from arq.connections import RedisSettings


async def shout(_ctx, text):
    print(f"job done: {text.upper()}", flush=True)
    return text.upper()


class WorkerSettings:
    functions = [shout]
    redis_settings = RedisSettings.from_dsn(os.environ.get("ARQ_REDIS", "redis://127.0.0.1:6379"))
    health_check_interval = 1
