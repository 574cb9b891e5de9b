"""Decides what mode `auto` stands for. Pure: the environment and the terminal come in as values."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.specs import Mode

_OFF = ("", "0", "false", "no")


def resolve_mode(
    mode: Mode,
    *,
    is_tty: bool,
    environ: Mapping[str, str],
    bus_url: str = "auto",
    compared: tuple[Mode, str] | None = None,
) -> tuple[Mode, str]:
    """Return the mode to launch in, and why.

    Where the backend was compared (`compared`: the mode, and why), that decides. Else a person at a terminal
    gets one process, which starts fast and is easy to debug; CI and servers get the processes that production
    has. A bus in memory leaves no choice.
    """
    if mode is not Mode.AUTO:
        return mode, "as configured"
    if bus_url == "memory://":
        return Mode.SINGLE, "auto: the bus is in memory"
    if compared is not None:
        return compared[0], f"auto: {compared[1]}"
    if environ.get("CI", "").lower() not in _OFF:
        return Mode.MULTI, "auto: CI is set"
    if is_tty:
        return Mode.SINGLE, "auto: there is a terminal"
    return Mode.MULTI, "auto: there is no terminal"
