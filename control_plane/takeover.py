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


def takes_over(
    runtime: RuntimeDir, settings: Settings, mode: Mode, *, bus_url: str, timeout_s: float
) -> bool:
    """Tell whether an anchor is there whose hosts this launch goes on with; any other is ended.

    Raises:
        LaunchError: an anchor is there, but neither answers nor ends within `timeout_s` (E2010).
    """
    if not runtime.anchor_alive():
        return False
    return asyncio.run(_settle(runtime, settings, mode, bus_url=bus_url, timeout_s=timeout_s))


async def _settle(
    runtime: RuntimeDir, settings: Settings, mode: Mode, *, bus_url: str, timeout_s: float
) -> bool:
    anchor = await AnchorClient.connect(runtime.anchor_socket, pid=os.getpid(), timeout_s=timeout_s)
    hosts = anchor.welcome.hosts
    if mode is not Mode.SINGLE and all(fits(host, settings, mode, bus_url=bus_url) for host in hosts):
        anchor.close()
        return True
    await anchor.shutdown(timeout_s=timeout_s)
    return False


def fits(host: RunningHost, settings: Settings, mode: Mode, *, bus_url: str) -> bool:
    """Tell whether the host is one that this launch would have made."""
    spec = host.spec
    same_place = (spec.app, spec.mode, spec.bus_url) == (settings.app.name, mode, bus_url)
    declared = settings.components
    return same_place and all(
        declared.get(replica.component.name) == replica.component for replica in spec.replicas
    )
