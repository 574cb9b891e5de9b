"""What the supervisor tells the core, beside the messages of hosts and operators.

Past tense: every input says what has happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.messages import AnyRequest, Event
from control_plane.core.effects import PlannedEffect


@dataclass(frozen=True)
class HostSpawned:
    """A host has a process.

    `replicas` (id, component) and `key` are those of its spec. After a takeover it names the hosts that the
    anchor still holds, before the first plan is made: they are adopted.
    """

    host: str
    pid: int
    replicas: tuple[tuple[str, str], ...] = ()
    key: str = ""


@dataclass(frozen=True)
class HostDelayed:
    """A host has no process yet; `why` is what it waits for."""

    host: str
    why: str


@dataclass(frozen=True)
class SpawnFailed:
    """No process came about; `error` is a `CoplaneError.as_dict()`."""

    host: str
    error: Mapping[str, Any]


@dataclass(frozen=True)
class HostExited:
    """The process is gone and reaped; one of `exit_code` and `signal` is set.

    `killed_because`: why the control plane itself had it killed.
    """

    host: str
    pid: int
    exit_code: int | None = None
    signal: int | None = None
    killed_because: str = ""


@dataclass(frozen=True)
class HostSpared:
    """An order to kill a host came too late, and was not obeyed: it may be well again."""

    host: str


@dataclass(frozen=True)
class StopAll:
    """Somebody wants the whole application down, for good."""


@dataclass(frozen=True)
class Issued:
    """An effect of a plan is being carried out, and is not to be planned again."""

    effect: PlannedEffect


@dataclass(frozen=True)
class TimePassed:
    """The time that the plan asked to be woken at has come.

    Tell what is queued first: a heartbeat that has arrived but was not told would count as missed.
    """


@dataclass(frozen=True)
class BusLost:
    """The bus does not answer, so that silence says nothing about hosts."""


@dataclass(frozen=True)
class BusRecovered:
    """The bus answers again."""


@dataclass(frozen=True)
class Moment:
    """When an input is reduced, and a random number from 0 to 1 for it: both come in from outside."""

    now_s: float
    jitter: float = 0.5


Internal = (
    HostSpawned
    | HostDelayed
    | SpawnFailed
    | HostExited
    | HostSpared
    | StopAll
    | Issued
    | TimePassed
    | BusLost
    | BusRecovered
)
Input = Event | AnyRequest | Internal
