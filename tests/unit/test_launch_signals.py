"""Which signals ask a launch to stop."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from control_plane.launcher.launch import stop_signals


@pytest.mark.parametrize(("handler", "listens"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_under_nohup_the_end_of_the_terminal_stops_nothing(handler: Any, listens: bool) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert (signal.SIGHUP in stop_signals()) is listens
    finally:
        signal.signal(signal.SIGHUP, before)
