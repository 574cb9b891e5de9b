"""What the reconciler wants done; the supervisor carries it out and nobody else.

Imperative, and complete: an effect says everything that carrying it out needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SpawnHost:
    """Make a process for these replicas; they wait in it until they are told to start."""

    host: str
    key: str
    replicas: tuple[tuple[str, str], ...]  # (replica id, component name)


@dataclass(frozen=True)
class SendStart:
    """Tell the host to start the replica. May be sent again under the same command id.

    `via` is for a component that the host does not hold yet: another one, whose commands it follows.
    """

    replica: str
    component: str
    host: str
    command_id: str
    via: str = ""


@dataclass(frozen=True)
class SendStop:
    """Tell the host to drain and stop the replica. May be sent again under the same command id."""

    replica: str
    component: str
    host: str
    command_id: str
    grace_period_s: float


@dataclass(frozen=True)
class StopHost:
    """Ask the process to end (SIGTERM); its replicas are down."""

    host: str


@dataclass(frozen=True)
class KillHost:
    """Kill the process and all it started, soon or not at all: the reason may pass by itself."""

    host: str
    reason: str


@dataclass(frozen=True)
class Answer:
    """Tell whoever sent the request whether it was accepted; `error` is a `CoplaneError.as_dict()`."""

    request_id: str
    accepted: bool
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Conclude:
    """Tell everybody what a request came to; `error` is a `CoplaneError.as_dict()`, None where it is done."""

    request_id: str
    kind: str
    component: str
    error: Mapping[str, Any] | None = None


PlannedEffect = SpawnHost | SendStart | SendStop | StopHost | KillHost
Effect = PlannedEffect | Answer | Conclude
