"""What is observed: states and reports of replicas, components and the whole application."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from contracts.specs import Mode


class ReplicaState(StrEnum):
    """The life of a replica; `control_plane.core.transitions` has the table."""

    PENDING = "pending"
    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    BACKOFF = "backoff"
    FAILED = "failed"
    LOST = "lost"


class Observation(BaseModel):
    """Base of every report: immutable; keys that a newer version added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Health(Observation):
    """The last answer of a replica's health check."""

    status: str
    latency_ms: float
    checked_at: datetime
    detail: dict[str, Any] = {}


class LogLoss(Observation):
    """Log lines that could not be written, and why the last of them."""

    lines: int
    reason: str


class ReplicaReport(Observation):
    """The whole truth about one replica, as its host knows it; part of every heartbeat.

    `since`: when it got into its state. A host goes on to tell of replicas that have moved elsewhere.
    """

    component: str
    replica: str
    state: ReplicaState
    since: datetime | None = None
    prefix: str = ""
    uptime_s: float = 0.0
    health: Health | None = None
    reason: str | None = None
    error: dict[str, Any] | None = None


class ReplicaStatus(Observation):
    """One replica in `ctl status --json`."""

    id: str
    state: ReplicaState
    host: str | None
    node: str | None
    pid: int | None
    endpoint: str | None
    restarts: int
    uptime_s: float
    rss_bytes: int
    cpu_percent: float
    health: Health | None
    reason: str | None
    retry_in_s: float | None = None


class ComponentStatus(Observation):
    """One component in `ctl status --json`."""

    name: str
    desired: str
    state: ReplicaState
    prefix: str
    aliases: tuple[str, ...] = ()
    depends_on: tuple[str, ...]
    replicas: tuple[ReplicaStatus, ...]


class ControlPlaneStatus(Observation):
    """The control plane in `ctl status --json`."""

    pid: int
    epoch: int
    uptime_s: float
    url: str


class GatewayStatus(Observation):
    """The gateway's public address in `ctl status --json`, and those of components with one of their own."""

    url: str
    listeners: dict[str, str] = Field(default_factory=dict)


class BusStatus(Observation):
    """The bus in `ctl status --json`; `kind` is memory, redis or valkey."""

    kind: str
    url: str
    connected: bool


class AppStatus(Observation):
    """The answer of `ctl status --json` and `GET /v1/status`.

    `warnings`: what nobody has to act on at once and nobody would see otherwise, such as lost log lines.
    """

    app: str
    mode: Mode
    ready: bool
    control_plane: ControlPlaneStatus
    gateway: GatewayStatus
    bus: BusStatus
    components: tuple[ComponentStatus, ...]
    warnings: tuple[str, ...] = ()


class StreamLedger(Observation):
    """What became of the messages of one stream, for one consumer group.

    `adds_up`: accepted = acknowledged + left + dead, where each was counted apart.
    """

    stream: str
    group: str
    accepted: int
    acknowledged: int
    left: int
    dead: int
    adds_up: bool


class StopReport(Observation):
    """What a stop of everything came to; `ok` where every ledger could be read and adds up.

    `stopped` names replicas, `forced` those hosts that had to be killed; `problem` says why there
    are no ledgers.
    """

    streams: tuple[StreamLedger, ...]
    ok: bool
    stopped: tuple[str, ...]
    forced: tuple[str, ...] = ()
    problem: str = ""
