"""The control plane's actor and what feeds it: events and requests in, effects out."""

from control_plane.supervisor.actor import Supervisor
from control_plane.supervisor.identity import Identity

__all__ = ["Identity", "Supervisor"]
