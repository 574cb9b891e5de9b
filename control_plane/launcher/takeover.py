"""What to do about an anchor that a killed launch has left behind: take it over, or end it first.

It is taken over when its hosts are what this launch would make. Where the mode, the bus or a component's
declaration is another by now, its hosts drain first, and everything starts anew.
"""

from __future__ import annotations

import asyncio
import os
from urllib.parse import urlsplit

from contracts.specs import Mode, Settings
from control_plane.runtime.anchor_client import AnchorClient
from control_plane.runtime.anchor_protocol import RunningHost, Welcome
from control_plane.runtime.paths import RuntimeDir


def survey(runtime: RuntimeDir, *, timeout_s: float) -> Welcome | None:
    """Return what an anchor holds which nobody controls; None where there is no anchor.

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


def mode_of(found: Welcome | None) -> Mode | None:
    """Return the mode that the hosts were made in."""
    return found.hosts[0].spec.mode if found and found.hosts else None


def fits(found: Welcome, settings: Settings, mode: Mode, *, bus_url: str) -> bool:
    """Tell whether hosts and sockets are what this launch would have made."""
    if mode is Mode.SINGLE or not _listens_where_it_should(found, settings):
        return False
    return all(_fits(host, settings, mode, bus_url) for host in found.hosts)


def _listens_where_it_should(found: Welcome, settings: Settings) -> bool:
    ports = [urlsplit(url).port for url in found.public_urls]
    common, own = ports[:1], set(ports[1:])
    return (settings.gateway.port == 0 or common == [settings.gateway.port]) and own == set(
        settings.listeners
    )


def _fits(host: RunningHost, settings: Settings, mode: Mode, bus_url: str) -> bool:
    spec, declared = host.spec, settings.components
    same_place = (spec.app, spec.mode, spec.bus_url) == (settings.app.name, mode, bus_url)
    return same_place and all(
        declared.get(replica.component.name) == replica.component for replica in spec.replicas
    )


async def _survey(runtime: RuntimeDir, timeout_s: float) -> Welcome:
    anchor = await AnchorClient.connect(runtime.anchor_socket, pid=os.getpid(), timeout_s=timeout_s)
    anchor.close()
    return anchor.welcome


async def _end(runtime: RuntimeDir, timeout_s: float) -> None:
    anchor = await AnchorClient.connect(runtime.anchor_socket, pid=os.getpid(), timeout_s=timeout_s)
    await anchor.shutdown(timeout_s=timeout_s)
