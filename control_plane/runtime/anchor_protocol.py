"""What the anchor and the control plane say to each other: one JSON object a line, both ways.

Requests carry a number, and each is answered once: by what was asked for, or by `Refused`. Events
come unasked. Unknown fields are ignored, so that a newer control plane can take over an older anchor.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from contracts.specs import HostSpec

# A request holds one host's spec; a welcome those of every host.
MAX_REQUEST_BYTES = 1 << 20
MAX_ANSWER_BYTES = 1 << 26


class Record(BaseModel):
    """Base of everything here: immutable, and lenient about what it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AnchorOptions(Record):
    """Everything an anchor needs to know.

    `preload` are the components' modules that are imported before a fork. `public_fds` are the gateway's
    listening sockets. `stop_timeout_s` is how long hosts may drain before they are killed.
    """

    app: str
    home: str
    project: str
    sockets: str
    preload: tuple[str, ...] = ()
    public_fds: tuple[int, ...] = ()
    valkey: bool = False
    orphan_grace_s: float = 30.0
    stop_timeout_s: float = 20.0
    host_entry: str = "control_plane.runtime.host_main:run_host"


# Requests.


class Hello(Record):
    """Take control. The newest controller replaces the one before, unless its epoch is lower."""

    op: Literal["hello"] = "hello"
    id: int
    pid: int
    epoch: int = 0


class Spawn(Record):
    """Start a host."""

    op: Literal["spawn"] = "spawn"
    id: int
    spec: HostSpec


class SignalHost(Record):
    """Send a signal to a host: SIGKILL to its whole group, any other to the host alone.

    Not after `not_after_s`, monotonic seconds, the same for all processes of a machine: who was frozen
    finds orders whose reason may have passed.
    """

    op: Literal["signal"] = "signal"
    id: int
    host: str
    signum: int = Field(ge=1, le=64)
    not_after_s: float | None = None


class RestartBus(Record):
    """Stop the embedded Valkey and start it again."""

    op: Literal["restart_bus"] = "restart_bus"
    id: int


class Shutdown(Record):
    """Stop every host, then Valkey, then end; answered at once, done when the connection closes."""

    op: Literal["shutdown"] = "shutdown"
    id: int


class Remember(Record):
    """Keep a JSON object for the next control plane, in place of the one before."""

    op: Literal["remember"] = "remember"
    id: int
    memory: dict[str, Any]


Request = Hello | Spawn | SignalHost | RestartBus | Remember | Shutdown

# Answers.


class RunningHost(Record):
    """A host that the anchor holds."""

    spec: HostSpec
    pid: int


class Welcome(Record):
    """Answers `Hello`: everything that a new control plane needs to take over."""

    type: Literal["welcome"] = "welcome"
    re: int
    anchor_pid: int
    app: str
    hosts: tuple[RunningHost, ...]
    bus_pid: int | None
    bus_url: str
    public_fds: tuple[int, ...] = ()
    public_urls: tuple[str, ...] = ()
    memory: dict[str, Any] = {}


class Spawned(Record):
    """Answers `Spawn`."""

    type: Literal["spawned"] = "spawned"
    re: int
    pid: int


class Done(Record):
    """Answers a request that has no other answer; not `in_time`, it was not carried out any more."""

    type: Literal["done"] = "done"
    re: int
    in_time: bool = True


class Refused(Record):
    """Answers a request that was not carried out; `error` is a `CoplaneError.as_dict()`."""

    type: Literal["refused"] = "refused"
    re: int | None
    error: dict[str, Any]


# Events.


class HostGone(Record):
    """A host ended: with an exit code, or killed by a signal."""

    type: Literal["host_gone"] = "host_gone"
    host: str
    pid: int
    exit_code: int | None
    signal: int | None


class HostDelayed(Record):
    """A host has no process yet, because an import takes long."""

    type: Literal["host_delayed"] = "host_delayed"
    host: str
    why: str


class BusGone(Record):
    """The embedded Valkey ended; it is started again after a pause."""

    type: Literal["bus_gone"] = "bus_gone"
    pid: int
    exit_code: int | None
    signal: int | None


class BusStarted(Record):
    """The embedded Valkey was started again."""

    type: Literal["bus_started"] = "bus_started"
    pid: int


class Stopping(Record):
    """The anchor stops although its controller did not ask for it: what ends from now on was told to."""

    type: Literal["stopping"] = "stopping"
    reason: str


Answer = Welcome | Spawned | Done | Refused
AnchorEvent = HostGone | HostDelayed | BusGone | BusStarted | Stopping

# Made when this is imported, before anything is forked: else each process would make its own.
_REQUESTS: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="op")])
_FROM_ANCHOR: TypeAdapter[Answer | AnchorEvent] = TypeAdapter(
    Annotated[Answer | AnchorEvent, Field(discriminator="type")]
)


def to_line(message: Record) -> bytes:
    """Return a message as a line, with its end."""
    return message.model_dump_json().encode() + b"\n"


def read_request(line: bytes) -> Request:
    """Read a request.

    Raises:
        pydantic.ValidationError: the line is none.
    """
    return _REQUESTS.validate_json(line)


def read_answer(line: bytes) -> Answer | AnchorEvent:
    """Read what an anchor says.

    Raises:
        pydantic.ValidationError: the line is none of it.
    """
    return _FROM_ANCHOR.validate_json(line)


class LineTooLong(ValueError):
    """A peer sent more than the bound without an end of line."""


class Lines:
    """Cuts a stream of bytes into lines, bounded in length."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._partial = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now.

        Raises:
            LineTooLong: no end of line within the bound.
        """
        self._partial += data
        if len(self._partial) > self._max_bytes and b"\n" not in self._partial[: self._max_bytes]:
            raise LineTooLong(f"a line of more than {self._max_bytes} bytes")
        *lines, rest = self._partial.split(b"\n")
        self._partial = bytearray(rest)
        return [bytes(line) for line in lines]
