"""The control plane below its anchors: it serves below one after another, and outlives them."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

from contracts.errors import CoplaneError, first_of
from control_plane.hosting.anchored import AnchoredHosting
from control_plane.launch_options import LaunchReporter
from control_plane.launcher.assembly import Prepared, conduct, open_bus, prepare, run_loop
from control_plane.launcher.blueprint import Blueprint, anchor_bound_s, anchor_options, stop_bound_s
from control_plane.launcher.signals import hold_signals
from control_plane.launcher.succession import Deaths, Legacy, Standing
from control_plane.runtime import clock, images
from control_plane.runtime.anchor import start_anchor_anew
from control_plane.runtime.anchor_client import AnchorClient, AnchorGone

log = logging.getLogger("coplane.launch")

ANCHOR_TIMEOUT_S = 60.0
# From the end of its connections to the end of its process; waited for in vain where we lost control of it.
DEATH_TAKES_S = 1.0
# For the hosts of a dead anchor to finish what they hold.
OLD_HOSTS_GRACE_S = 2.0


def outlive_anchors(blueprint: Blueprint, reporter: LaunchReporter, standing: Standing) -> int:
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
    if not standing.public:
        await legacy.remains.end(grace_s=OLD_HOSTS_GRACE_S)  # one of them holds the port
        standing.bind_public_again(legacy.public_urls)
    blueprint.runtime.clean_stale()
    standing.anchor_pid = start_anchor_anew(anchor_options(blueprint, standing.public))
    await legacy.remains.end(grace_s=OLD_HOSTS_GRACE_S)
    return await _serve_anchored(blueprint, reporter, standing, legacy)


async def _serve_anchored(
    blueprint: Blueprint, reporter: LaunchReporter, standing: Standing, legacy: Legacy | None = None
) -> int | Legacy:
    try:
        anchor = await AnchorClient.connect(
            blueprint.runtime.anchor_socket, pid=os.getpid(), timeout_s=ANCHOR_TIMEOUT_S
        )
    except AnchorGone as exc:
        if legacy is None:
            raise
        return replace(legacy, error=exc)
    hosting = AnchoredHosting(
        anchor, blueprint.runtime, bus_url=blueprint.bus_url, public_fds=anchor.public_fds
    )
    in_charge = bool(standing.public)
    prepared: Prepared | None = None
    left: Legacy | None = None
    try:
        async with open_bus(blueprint) as bus:
            prepared = await prepare(blueprint, reporter, bus, hosting, anchor.public_url, standing, legacy)
            in_charge = True
            return await conduct(blueprint, prepared)
    except* CoplaneError as errors:
        # Whatever failed because the anchor is gone: it has died, or obeys somebody else.
        if not in_charge:
            raise
        hold_signals()  # the next beginning heeds them: a cancellation here would leave hosts behind
        if not await anchor.died(within_s=DEATH_TAKES_S):
            raise
        left = _legacy(first_of(errors), hosting, prepared, anchor.public_urls)
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
    error: CoplaneError,
    hosting: AnchoredHosting,
    prepared: Prepared | None,
    public_urls: tuple[str, ...],
) -> Legacy:
    return Legacy(
        error,
        state=prepared.supervisor.state if prepared else None,
        remains=hosting.take_remains(),
        public_urls=public_urls,
        was_ready=prepared.launch.was_ready if prepared else False,
        stopping=bool(prepared and (prepared.supervisor.stop_asked.is_set() or prepared.launch.interrupted)),
    )
