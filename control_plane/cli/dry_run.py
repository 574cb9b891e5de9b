"""Says what a launch would do: which replica runs in which host, and what starts before what."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from contracts.errors import ExitCode
from control_plane.cli.show import Cell, Style, print_json, table
from control_plane.core.graph import order
from control_plane.core.placement import place
from control_plane.launch_options import LaunchOptions
from control_plane.launcher.choice import choose


@dataclass(frozen=True)
class LaunchPlan:
    """What a launch with these options would do; `start_order` is in levels that start together."""

    app: str
    mode: str
    mode_reason: str
    bus: str
    hosts: dict[str, tuple[str, ...]]
    start_order: tuple[tuple[str, ...], ...]


def print_plan(options: LaunchOptions, *, as_json: bool) -> int:
    """Print the plan."""
    plan = draw_plan(options)
    if as_json:
        print_json(asdict(plan))
    else:
        print("\n".join(_lines(plan)))
    return ExitCode.DONE


def draw_plan(options: LaunchOptions) -> LaunchPlan:
    """Return the plan.

    Raises:
        ConfigError: the configuration, or the choice of components, is wrong.
    """
    choice = choose(options)
    settings, mode = choice.settings, choice.mode
    url = settings.bus.url
    own_bus = "memory" if mode == "single" else "embedded Valkey"
    return LaunchPlan(
        app=settings.app.name,
        mode=str(mode),
        mode_reason=choice.mode_reason,
        bus=own_bus if url == "auto" else "as configured",
        hosts=place(mode, settings.components.values()),
        start_order=order({name: spec.depends_on for name, spec in settings.components.items()}),
    )


def _lines(plan: LaunchPlan) -> list[str]:
    plain = Style(colour=False)
    hosts = [[Cell(key), Cell(", ".join(replicas))] for key, replicas in plan.hosts.items()]
    levels = [[Cell(str(number)), Cell(", ".join(level))] for number, level in enumerate(plan.start_order, 1)]
    return [
        f"{plan.app} in {plan.mode} mode ({plan.mode_reason}), bus: {plan.bus}",
        "",
        *table(("HOST", "REPLICAS"), hosts, plain),
        "",
        *table(("START", "COMPONENTS"), levels, plain),
    ]
