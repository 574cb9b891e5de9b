"""Messages between hosts and the control plane, and their wire form.

Every entry of a ctl stream is flat, readable text: the header fields below, and the payload as JSON
text in `data`. Unknown fields are ignored; an unknown type gives `UnknownMessage`, so that a reader
can skip and count it. Events are past tense, commands and requests imperative.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from contracts.specs import ComponentSpec, Name
from contracts.status import Health, LogLoss, ReplicaReport, ReplicaState

HEADER = ("type", "v", "component", "replica", "node", "at", "correlation_id", "traceparent")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MalformedEntry(ValueError):
    """A stream entry that is no message; a reader skips and counts it."""


class UnknownMessage(MalformedEntry):
    """A well-formed entry of a type this version does not know."""


class Message(BaseModel):
    """Header of every ctl message. `at` comes in from outside; the epoch stands for "not said"."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    v: int = 1
    component: str = ""
    replica: str = ""
    node: str = "local"
    at: datetime = EPOCH
    correlation_id: str = ""
    traceparent: str = ""


# Events: what hosts say.


class HostHeartbeat(Message):
    """Level-triggered: the full status of every replica in the host, every `interval_s`.

    `log_loss`: lines of its logs and of its output that could not be written since it began.
    """

    type: Literal["host.heartbeat"] = "host.heartbeat"
    host: str
    pid: int
    endpoint: str = ""
    public_url: str = ""
    interval_s: float
    rss_bytes: int = 0
    cpu_percent: float = 0.0
    autostarted: bool = False
    log_loss: LogLoss | None = None
    replicas: tuple[ReplicaReport, ...] = ()


class ComponentRegistered(Message):
    """A replica's component is loaded: where it is and what it answers."""

    type: Literal["component.registered"] = "component.registered"
    host: str
    endpoint: str = ""
    prefix: str = ""
    routes: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()


class ComponentTransitioned(Message):
    """A replica changed state. `permanent`: a restart would not help (configuration, import).

    `retry_in_s`: from then until it is started again, where it goes into backoff.
    """

    type: Literal["component.transitioned"] = "component.transitioned"
    host: str
    endpoint: str = ""
    prefix: str = ""
    from_state: ReplicaState
    to_state: ReplicaState
    health: Health | None = None
    reason: str | None = None
    error: dict[str, Any] | None = None
    permanent: bool = False
    retry_in_s: float | None = None


class CommandCompleted(Message):
    """A command was carried out."""

    type: Literal["command.completed"] = "command.completed"
    host: str
    command_id: str
    command: str


class CommandFailed(Message):
    """A command was refused or went wrong; `error` is a `CoplaneError.as_dict()`."""

    type: Literal["command.failed"] = "command.failed"
    host: str
    command_id: str
    command: str
    error: dict[str, Any] = Field(default_factory=dict)


class HostStopping(Message):
    """A host begins to stop, and why; its replicas drain."""

    type: Literal["host.stopping"] = "host.stopping"
    host: str
    pid: int
    reason: str = ""


class LoopBlocked(Message):
    """A component kept its host's event loop from turning.

    `culprit` is the line, as `file:line in function`. The loop's thread was computing for `cpu_ms` of
    `duration_ms`, and waiting for the rest. `count` blocks at that line since the last such event,
    this one included.
    """

    type: Literal["loop.blocked"] = "loop.blocked"
    host: str
    duration_ms: int
    cpu_ms: int = 0
    culprit: str = ""
    stack: str = ""
    hint: str = ""
    count: int = 1


Event = (
    HostHeartbeat
    | ComponentRegistered
    | ComponentTransitioned
    | CommandCompleted
    | CommandFailed
    | HostStopping
    | LoopBlocked
)

# Commands: what the control plane tells the hosts. `epoch` is the leader's term; hosts refuse older ones.


class Command(Message):
    """Header of every command: for one host, one replica; the same id twice acts once."""

    host: str
    command_id: str
    epoch: int = 1


class StartReplica(Command):
    """Start the replica now; what it depends on is ready.

    `spec` introduces a component that the host does not hold yet, because it is moved there.
    """

    type: Literal["replica.start"] = "replica.start"
    spec: ComponentSpec | None = None


class StopReplica(Command):
    """Drain the replica, then shut it down, within the grace period."""

    type: Literal["replica.stop"] = "replica.stop"
    grace_period_s: float


class ReportHost(Command):
    """Send a heartbeat now."""

    type: Literal["host.report"] = "host.report"


AnyCommand = StartReplica | StopReplica | ReportHost

# Requests: what somebody wants. A person may write one with XADD, so every field but `type` has a default.


class Request(Message):
    """Header of every request; the same id twice acts once.

    Its outcome is an event, `command.completed` or `command.failed`, with the request's id: when what was
    asked for is so, when it has failed, or after `timeout_s`. `request_id` defaults to the stream entry's id.
    """

    request_id: str = ""
    timeout_s: float = Field(60.0, gt=0, le=86_400)


class StartRequest(Request):
    """Want the component running; clears a failure."""

    type: Literal["start"] = "start"


class StopRequest(Request):
    """Want the component stopped until somebody starts it."""

    type: Literal["stop"] = "stop"


class RestartRequest(Request):
    """Replace every replica of the component by a new one.

    `rolling`: one after the other, each only while the others can do its work; else all at once.
    """

    type: Literal["restart"] = "restart"
    rolling: bool = True


class ScaleRequest(Request):
    """Want this number of replicas."""

    type: Literal["scale"] = "scale"
    replicas: int = Field(ge=0, le=256)


class MoveRequest(Request):
    """Have the replicas run elsewhere: in the host of a group, or each in a process of its own."""

    type: Literal["move"] = "move"
    to: Name


AnyRequest = StartRequest | StopRequest | RestartRequest | ScaleRequest | MoveRequest

_M = TypeVar("_M", bound=Message)
_TYPES: dict[str, type[Message]] = {
    model.model_fields["type"].default: model
    for model in (
        HostHeartbeat,
        ComponentRegistered,
        ComponentTransitioned,
        CommandCompleted,
        CommandFailed,
        HostStopping,
        LoopBlocked,
        StartReplica,
        StopReplica,
        ReportHost,
        StartRequest,
        StopRequest,
        RestartRequest,
        ScaleRequest,
        MoveRequest,
    )
}


def to_fields(message: Message) -> dict[str, str]:
    """Return the wire form: header fields as text, everything else as JSON text in `data`."""
    whole = message.model_dump(mode="json", exclude_none=True)
    header = {key: str(whole.pop(key, "")) for key in HEADER}
    header["data"] = json.dumps(whole, separators=(",", ":"), ensure_ascii=False)
    return header


def from_fields(fields: Mapping[str, str]) -> Message:
    """Read the wire form back.

    Fields a person left out take their defaults; payload values may stand as fields of their own
    (`XADD ... type scale component writer replicas 3`).

    Raises:
        UnknownMessage: the type is not known to this version.
        MalformedEntry: `data` is no JSON object, or a field does not validate.
    """
    kind = fields.get("type", "")
    model = _TYPES.get(kind)
    if model is None:
        raise UnknownMessage(f"unknown message type {kind!r}")
    try:
        payload = json.loads(fields.get("data") or "{}")
        if not isinstance(payload, dict):
            raise ValueError("field 'data' is not a JSON object")
        plain = {key: value for key, value in fields.items() if key != "data" and value != ""}
        return model.model_validate({**payload, **plain})
    except (ValueError, RecursionError) as exc:  # of JSON and of pydantic
        raise MalformedEntry(f"malformed {kind!r} entry: {exc}") from exc
