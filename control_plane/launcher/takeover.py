"""What to do about an anchor that a killed launch has left behind: take it over, or end it first.

It is taken over when its hosts are what this launch would make. Where the mode, the bus or a component's
declaration is another by now, its hosts drain first, and everything starts anew.
"""

from __future__ import annotations

import asyncio
import os

from contracts.specs import Mode, Settings
from control_plane.runtime.anchor_client import AnchorClient
from control_plane.runtime.anchor_protocol import RunningHost
from control_plane.runtime.paths import RuntimeDir

Hosts = tuple[RunningHost, ...]


def survey(runtime: RuntimeDir, *, timeout_s: float) -> Hosts | None:
    """Return the hosts that an anchor holds which nobody controls; None where there is no anchor.

    Raises:
        LaunchError: there is one, but it does not answer in time (E2010), or is stopping (E2006).
    """
    return asyncio.run(_survey(runtime, timeout_s)) if runtime.anchor_alive() else None


def end(runtime: RuntimeDir, *, timeout_s: float) -> None:
    """Let the hosts of an anchor drain, and the anchor end.

    Raises:
        LaunchError: it neither answers nor ends within `timeout_s` (E2010).
    """
    asyncio.run(_end(runtime, timeout_s))


def mode_of(hosts: Hosts | None) -> Mode | None:
    """Return the mode that the hosts were made in."""
    return hosts[0].spec.mode if hosts else None


def fits(hosts: Hosts, settings: Settings, mode: Mode, *, bus_url: str) -> bool:
    """Tell whether the hosts are what this launch would have made."""
    return mode is not Mode.SINGLE and all(_fits(host, settings, mode, bus_url) for host in hosts)


def _fits(host: RunningHost, settings: Settings, mode: Mode, bus_url: str) -> bool:
    spec, declared = host.spec, settings.components
    same_place = (spec.app, spec.mode, spec.bus_url) == (settings.app.name, mode, bus_url)
    return same_place and all(
        declared.get(replica.component.name) == replica.component for replica in spec.replicas
    )


async def _survey(runtime: RuntimeDir, timeout_s: float) -> Hosts:
    anchor = await AnchorClient.connect(runtime.anchor_socket, pid=os.getpid(), timeout_s=timeout_s)
    anchor.close()
    return anchor.welcome.hosts


async def _end(runtime: RuntimeDir, timeout_s: float) -> None:
    anchor = await AnchorClient.connect(runtime.anchor_socket, pid=os.getpid(), timeout_s=timeout_s)
    await anchor.shutdown(timeout_s=timeout_s)
