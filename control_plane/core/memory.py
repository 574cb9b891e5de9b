"""What of a state outlives its control plane: what operators wanted, and the crash histories.

What runs is not in it: the hosts that are taken over say that themselves. Times are of the machine's
monotonic clock, which all its processes share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from contracts.status import ReplicaState
from control_plane.core.state import DesiredComponent, OpenRequest, ReplicaRecord, State

# The states that nobody but the control plane knows of.
_OURS: Final = frozenset({ReplicaState.BACKOFF, ReplicaState.FAILED})


@dataclass(frozen=True)
class RememberedComponent:
    """What is wanted of a component, beyond what its configuration says."""

    running: bool
    replicas: int
    generation: int
    rolling: bool
    place: str


@dataclass(frozen=True)
class RememberedReplica:
    """The history of a replica; `state` is pending unless it waits for a restart, failed or finished."""

    component: str
    state: ReplicaState
    generation: int
    exits: tuple[float, ...]
    restarts: int
    retry_at_s: float | None
    finished: bool
    reason: str | None
    error: Mapping[str, Any] | None


@dataclass(frozen=True)
class Memory:
    """All that is remembered; `epoch` is that of who remembered it, and no id of it may come back."""

    epoch: int = 0
    components: Mapping[str, RememberedComponent] = field(default_factory=dict)
    replicas: Mapping[str, RememberedReplica] = field(default_factory=dict)
    open_requests: tuple[OpenRequest, ...] = ()
    known_requests: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        written: dict[str, Any] = to_jsonable_python(self)
        return written

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Memory:
        """Read what `as_json` wrote; nothing is remembered where there is nothing.

        Raises:
            pydantic.ValidationError: it is something else.
        """
        return TypeAdapter(Memory).validate_python(value) if value else cls()


def remembered(state: State) -> Memory:
    """Return what a later control plane is to know of this state."""
    return Memory(
        state.epoch,
        {
            name: RememberedComponent(
                wanted.running, wanted.replicas, wanted.generation, wanted.rolling, wanted.place
            )
            for name, wanted in state.desired.components.items()
        },
        {name: _history(record) for name, record in state.observed.replicas.items()},
        state.open_requests,
        state.known_requests,
    )


def recalled(state: State, memory: Memory) -> State:
    """Return the first state of a launch with what is remembered of the one before it."""
    declared = state.desired.components
    components = {
        name: _wanted(wanted, memory.components[name]) if name in memory.components else wanted
        for name, wanted in declared.items()
    }
    records = {
        replica: _record(history)
        for replica, history in memory.replicas.items()
        if history.component in declared
    }
    return replace(
        state.with_replicas(records),
        desired=replace(state.desired, components=components),
        open_requests=tuple(request for request in memory.open_requests if request.component in declared),
        known_requests=memory.known_requests,
    )


def _wanted(declared: DesiredComponent, was: RememberedComponent) -> DesiredComponent:
    return replace(
        declared,
        running=was.running,
        replicas=was.replicas,
        generation=was.generation,
        rolling=was.rolling,
        place=was.place,
    )


def _history(record: ReplicaRecord) -> RememberedReplica:
    ours = record.state in _OURS or record.finished
    return RememberedReplica(
        component=record.component,
        state=record.state if ours else ReplicaState.PENDING,
        generation=record.generation,
        exits=record.exits,
        restarts=record.restarts,
        retry_at_s=record.retry_at_s,
        finished=record.finished,
        reason=record.reason if ours else None,
        error=record.error if ours else None,
    )


def _record(history: RememberedReplica) -> ReplicaRecord:
    return ReplicaRecord(
        history.component,
        history.state,
        generation=history.generation,
        exits=history.exits,
        restarts=history.restarts,
        retry_at_s=history.retry_at_s,
        finished=history.finished,
        reason=history.reason,
        error=history.error,
    )
