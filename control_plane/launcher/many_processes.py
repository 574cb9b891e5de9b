"""A backend below an anchor: what multi and hybrid mode are.

The first anchor is forked before all else: while it imports what hosts need, this process imports what it
needs itself.
"""

from __future__ import annotations

import asyncio

from control_plane.connections import check
from control_plane.launch_options import LaunchReporter
from control_plane.launcher.blueprint import (
    BUS_TIMEOUT_S,
    Blueprint,
    anchor_bound_s,
    anchor_options,
)
from control_plane.launcher.signals import hold_signals
from control_plane.launcher.succession import Standing
from control_plane.runtime import host_logging, images
from control_plane.runtime.anchor import start_anchor
from control_plane.runtime.ports import bind_all


def run_in_processes(blueprint: Blueprint, reporter: LaunchReporter) -> int:
    standing = Standing(blueprint.runtime)
    try:
        if not blueprint.takes_over:
            _start_first_anchor(blueprint, standing)
        handler = host_logging.configure(blueprint.runtime.logs, label="control")
        try:
            from control_plane.launcher.below_anchors import outlive_anchors

            return outlive_anchors(blueprint, reporter, standing)
        finally:
            standing.end_anchor(timeout_s=anchor_bound_s(blueprint))
            host_logging.release(handler)
    finally:
        standing.close()


def _start_first_anchor(blueprint: Blueprint, standing: Standing) -> None:
    blueprint.runtime.clean_stale()
    if not blueprint.embedded_bus:
        asyncio.run(check(blueprint.bus_url, timeout_s=BUS_TIMEOUT_S))
    standing.public = bind_all(blueprint.settings)
    # Fork while no thread or event loop exists; everybody then shares the pages of these imports.
    images.import_base()
    hold_signals()  # from here on there is somebody to end; the event loop heeds them
    standing.anchor_pid = start_anchor(anchor_options(blueprint, standing.public))
