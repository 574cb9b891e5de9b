"""Who a control plane is: what does not change while it lives."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.specs import Mode, Settings


@dataclass(frozen=True)
class Identity:
    """What does not change while this control plane lives."""

    settings: Settings
    mode: Mode
    epoch: int
    node: str
    gateway_url: str
    control_url: str
    started_s: float

    @property
    def app(self) -> str:
        """Return the name of the application."""
        return self.settings.app.name
