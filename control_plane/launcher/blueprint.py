"""What a launch is to build, decided before anything runs."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from contracts.specs import GATEWAY, Mode, Settings
from control_plane.core.graph import front_first, order
from control_plane.launch_options import LaunchOptions
from control_plane.launcher import takeover
from control_plane.launcher.choice import choose
from control_plane.launcher.sharing import check_sharing
from control_plane.runtime.anchor_protocol import AnchorOptions
from control_plane.runtime.environment import is_particular
from control_plane.runtime.paths import RuntimeDir

BUS_TIMEOUT_S = 10.0
# On top of what hosts may take: the anchor then ends Valkey, and sweeps up what is left.
ANCHOR_MARGIN_S = 20.0
LEVEL_MARGIN_S = 5.0


@dataclass(frozen=True)
class Blueprint:
    """What a launch is to build, decided before anything runs.

    `takes_over`: a killed launch has left hosts behind that this one goes on with.
    """

    settings: Settings
    mode: Mode
    mode_reason: str
    runtime: RuntimeDir
    options: LaunchOptions
    takes_over: bool = False

    @property
    def embedded_bus(self) -> bool:
        """Tell whether the launch brings its own Valkey."""
        return self.settings.bus.url == "auto" and self.mode is not Mode.SINGLE

    @property
    def bus_url(self) -> str:
        """Return where the bus is."""
        if self.embedded_bus:
            return f"unix://{self.runtime.bus_socket}"
        return "memory://" if self.settings.bus.url == "auto" else self.settings.bus.url


def draw_blueprint(options: LaunchOptions) -> Blueprint:
    """Read the configuration and decide what to build.

    Raises:
        ConfigError: the configuration, or the choice of components, is wrong.
        LaunchError: the runtime folder cannot be used (E2007).
    """
    choice = choose(options)
    check_sharing(choice.settings, choice.mode)
    runtime = RuntimeDir.open(choice.project, os.environ)
    return Blueprint(choice.settings, choice.mode, choice.mode_reason, runtime, options)


def beside_what_runs(blueprint: Blueprint) -> Blueprint:
    """Go on with what a killed launch has left; what does not fit is ended first.

    Raises:
        LaunchError: it neither answers nor ends in time (E2010), or is stopping (E2006).
    """
    timeout_s = anchor_bound_s(blueprint)
    found = takeover.survey(blueprint.runtime, timeout_s=timeout_s)
    running = takeover.mode_of(found)
    if running is not None and blueprint.options.mode is None:
        # Only whoever says so ends a backend that runs, for the sake of another mode.
        blueprint = replace(blueprint, mode=running, mode_reason="the mode of what runs")
    if found is None:
        return blueprint
    if takeover.fits(found, blueprint.settings, blueprint.mode, bus_url=blueprint.bus_url):
        return replace(blueprint, takes_over=True)
    takeover.end(blueprint.runtime, timeout_s=timeout_s)
    return blueprint


def stop_bound_s(settings: Settings) -> float:
    """Return how long a whole stop may take: the grace periods along the graph, and some for each level."""
    depends_on = {name: spec.depends_on for name, spec in settings.components.items()}
    levels = order(front_first(depends_on, GATEWAY))
    return sum(
        max(settings.components[name].grace_period_s for name in level) + LEVEL_MARGIN_S for level in levels
    )


def anchor_bound_s(blueprint: Blueprint) -> float:
    return stop_bound_s(blueprint.settings) + ANCHOR_MARGIN_S


def anchor_options(blueprint: Blueprint, public: Sequence[socket.socket]) -> AnchorOptions:
    """Return what an anchor has to know."""
    settings, runtime = blueprint.settings, blueprint.runtime
    return AnchorOptions(
        app=settings.app.name,
        home=str(runtime.home),
        project=str(runtime.project),
        sockets=str(runtime.sockets),
        preload=tuple(
            spec.use.partition(":")[0]
            for spec in settings.components.values()
            if spec.use and spec.preload and not is_particular(spec)
        ),
        public_fds=tuple(sock.fileno() for sock in public),
        valkey=blueprint.embedded_bus,
        orphan_grace_s=settings.app.orphan_grace_s,
        stop_timeout_s=stop_bound_s(settings),
    )
