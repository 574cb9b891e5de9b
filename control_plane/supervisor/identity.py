"""Who a control plane is: what does not change while it lives."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

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

    @property
    def listeners(self) -> dict[str, str]:
        """Return the addresses of components that have one of their own."""
        gateway = urlsplit(self.gateway_url)
        return {
            name: gateway._replace(netloc=f"{gateway.netloc.rpartition(':')[0]}:{spec.listener}").geturl()
            for name, spec in self.settings.components.items()
            if spec.listener and self.gateway_url
        }
