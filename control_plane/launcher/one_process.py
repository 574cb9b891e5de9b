"""A backend in this process: what single mode is."""

from __future__ import annotations

import asyncio
import importlib
import sys

from contracts.specs import GATEWAY
from control_plane.hosting.inline import InlineHosting
from control_plane.launch_options import LaunchReporter
from control_plane.launcher.assembly import conduct, open_bus, prepare, run_loop
from control_plane.launcher.blueprint import Blueprint
from control_plane.launcher.succession import Standing
from control_plane.runtime import children, host_logging, images
from control_plane.runtime.ports import bind_all, url_of


def run_in_one_process(blueprint: Blueprint, reporter: LaunchReporter) -> int:
    blueprint.runtime.clean_stale()
    # The legacy launcher has none: its own processes answer the clients.
    has_gateway = GATEWAY in blueprint.settings.components
    standing = Standing(blueprint.runtime, public=bind_all(blueprint.settings) if has_gateway else [])
    handler = host_logging.configure(blueprint.runtime.logs, label="control")
    _import_what_is_needed(blueprint)
    sys.path.insert(0, str(blueprint.runtime.project))
    images.freeze()
    try:
        with host_logging.prints_to_log(), children.leaving_nothing():
            return run_loop(_serve_inline(blueprint, reporter, standing))
    finally:
        host_logging.release(handler)
        standing.close()


def _import_what_is_needed(blueprint: Blueprint) -> None:
    """Import before the project's folder is looked into: a module there may have the name of one of these."""
    needed = ["control_plane.brokers.faststream"]
    if not blueprint.bus_url.startswith("memory:"):
        needed += ["control_plane.brokers.redis_transport", "control_plane.stores.redis"]
    for name in needed:
        importlib.import_module(name)


async def _serve_inline(blueprint: Blueprint, reporter: LaunchReporter, standing: Standing) -> int:
    public = standing.public
    gateway_url = url_of(public[0]) if public else ""
    async with open_bus(blueprint) as bus, asyncio.TaskGroup() as tasks:
        hosting = InlineHosting(
            blueprint.runtime, transport=bus.transport, state=bus.state, public_sockets=public, tasks=tasks
        )
        prepared = await prepare(blueprint, reporter, bus, hosting, gateway_url, standing)
        return await conduct(blueprint, prepared)
