"""A backend below an anchor: what multi and hybrid mode are. It outlives its anchors."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from contracts.errors import CoplaneError, first_of
from control_plane.connections import check
from control_plane.launch_options import LaunchReporter
from control_plane.launcher.assembly import (
    BUS_TIMEOUT_S,
    Prepared,
    bind_gateway,
    conduct,
    open_bus,
    prepare,
    run_loop,
)
from control_plane.launcher.blueprint import Blueprint, anchor_bound_s, stop_bound_s
from control_plane.launcher.signals import hold_signals
from control_plane.launcher.succession import Deaths, Legacy, Standing
from control_plane.runtime import clock, host_logging, images
from control_plane.runtime.anchor_client import AnchorClient, AnchorGone
from control_plane.runtime.anchor_protocol import AnchorOptions

if TYPE_CHECKING:
    from control_plane.hosting.anchored import AnchoredHosting


log = logging.getLogger("coplane.launch")
ANCHOR_TIMEOUT_S = 60.0
# For the hosts of a dead anchor to finish what they hold.
OLD_HOSTS_GRACE_S = 2.0


def run_in_processes(blueprint: Blueprint, reporter: LaunchReporter) -> int:
    standing = Standing(blueprint.runtime)
    try:
        if not blueprint.takes_over:
            _start_first_anchor(blueprint, standing)
        handler = host_logging.configure(blueprint.runtime.logs, label="control")
        try:
            return _outlive_anchors(blueprint, reporter, standing)
        finally:
            standing.end_anchor(timeout_s=anchor_bound_s(blueprint))
            host_logging.release(handler)
    finally:
        standing.close()


def _start_first_anchor(blueprint: Blueprint, standing: Standing) -> None:
    from control_plane.runtime.anchor import start_anchor

    blueprint.runtime.clean_stale()
    if not blueprint.embedded_bus:
        asyncio.run(check(blueprint.bus_url, timeout_s=BUS_TIMEOUT_S))
    standing.public = bind_gateway(blueprint)
    # Fork before any thread or event loop exists; everybody then shares the pages of these imports.
    images.import_base()
    standing.anchor_pid = start_anchor(_anchor_options(blueprint, standing.public))


def _outlive_anchors(blueprint: Blueprint, reporter: LaunchReporter, standing: Standing) -> int:
    """Serve below one anchor after another, until somebody asks for a stop or too many have died."""
    deaths = Deaths()
    images.freeze()
    outcome = run_loop(_serve_anchored(blueprint, reporter, standing))
    while isinstance(outcome, Legacy):
        log.error("anchor.died", extra={"error": str(outcome.error), "exit_code": standing.reap_anchor()})
        if outcome.stopping:
            run_loop(outcome.remains.end(grace_s=stop_bound_s(blueprint.settings)))
            raise outcome.error
        if deaths.one_more_is_too_many(clock.now_s()):
            run_loop(outcome.remains.end(grace_s=OLD_HOSTS_GRACE_S))
            raise outcome.error
        reporter.restarting("the anchor died")
        outcome = run_loop(_serve_anew(blueprint, reporter, standing, outcome))
    return outcome


async def _serve_anew(
    blueprint: Blueprint, reporter: LaunchReporter, standing: Standing, legacy: Legacy
) -> int | Legacy:
    """Start another anchor, and let the hosts of the dead one finish and acknowledge on its Valkey."""
    from control_plane.runtime.anchor import start_anchor_anew

    if standing.public is None:
        await legacy.remains.end(grace_s=OLD_HOSTS_GRACE_S)  # one of them holds the port
        standing.bind_public_again(legacy.public_url)
    assert standing.public is not None
    blueprint.runtime.clean_stale()
    standing.anchor_pid = start_anchor_anew(_anchor_options(blueprint, standing.public))
    await legacy.remains.end(grace_s=OLD_HOSTS_GRACE_S)
    return await _serve_anchored(blueprint, reporter, standing, legacy)


async def _serve_anchored(
    blueprint: Blueprint, reporter: LaunchReporter, standing: Standing, legacy: Legacy | None = None
) -> int | Legacy:
    from control_plane.hosting.anchored import AnchoredHosting

    try:
        anchor = await AnchorClient.connect(
            blueprint.runtime.anchor_socket, pid=os.getpid(), timeout_s=ANCHOR_TIMEOUT_S
        )
    except AnchorGone as exc:
        if legacy is None:
            raise
        return replace(legacy, error=exc)
    hosting = AnchoredHosting(
        anchor, blueprint.runtime, bus_url=blueprint.bus_url, public_fd=anchor.public_fd
    )
    in_charge = standing.public is not None
    prepared: Prepared | None = None
    left: Legacy | None = None
    try:
        async with open_bus(blueprint) as bus:
            prepared = await prepare(blueprint, reporter, bus, hosting, anchor.public_url, standing, legacy)
            in_charge = True
            return await conduct(blueprint, prepared)
    except* CoplaneError as errors:
        # Whatever failed because the anchor is gone; its socket tells a death from a loss of control.
        if not in_charge or blueprint.runtime.anchor_alive():
            raise
        hold_signals()  # the next beginning heeds them: a cancellation here would leave hosts behind
        left = _legacy(first_of(errors), hosting, prepared, anchor.public_url)
    finally:
        if left is None:
            standing.close_doors()
        if in_charge:
            await anchor.shutdown(timeout_s=anchor_bound_s(blueprint))
        else:
            # A takeover that fails leaves the backend as it was, for the next one to try.
            anchor.close()
    assert left is not None
    return left


def _legacy(
    error: CoplaneError, hosting: AnchoredHosting, prepared: Prepared | None, public_url: str
) -> Legacy:
    return Legacy(
        error,
        state=prepared.supervisor.state if prepared else None,
        remains=hosting.take_remains(),
        public_url=public_url,
        was_ready=prepared.launch.was_ready if prepared else False,
        stopping=bool(prepared and (prepared.supervisor.stop_asked.is_set() or prepared.launch.interrupted)),
    )


def _anchor_options(blueprint: Blueprint, public: socket.socket) -> AnchorOptions:
    settings, runtime = blueprint.settings, blueprint.runtime
    return AnchorOptions(
        app=settings.app.name,
        home=str(runtime.home),
        project=str(runtime.project),
        sockets=str(runtime.sockets),
        preload=tuple(
            (name, spec.use.partition(":")[0]) for name, spec in settings.components.items() if spec.preload
        ),
        public_fd=public.fileno(),
        valkey=blueprint.embedded_bus,
        orphan_grace_s=settings.app.orphan_grace_s,
        stop_timeout_s=stop_bound_s(settings),
    )
