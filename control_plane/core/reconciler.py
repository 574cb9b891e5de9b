"""The reconciler: which effects close the gap between what is wanted and what is observed.

Level-triggered and idempotent: it looks at the state alone, and what was issued is in the state. The
plan of a state in which every effect of the plan was issued is empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from contracts.status import ReplicaState
from control_plane.core.deadlines import host_deadline_s, is_due, resend_at_s
from control_plane.core.effects import KillHost, PlannedEffect, SendStart, SendStop, SpawnHost, StopHost
from control_plane.core.questions import (
    all_replicas,
    is_abandoned,
    is_foreign,
    is_in_unheard_host,
    is_needed,
    is_stale_host,
    is_stop_in_flight,
    is_unheard,
    key_of,
    missing_dependencies,
    placed,
    replicas_of,
    serving_components,
)
from control_plane.core.state import CommandKind, HostPhase, HostRecord, ReplicaRecord, State
from control_plane.core.stopping import Stops
from control_plane.core.transitions import LIVE


@dataclass(frozen=True)
class Plan:
    """What to do now."""

    effects: tuple[PlannedEffect, ...]

    def log_fields(self) -> dict[str, int]:
        """Return how many effects of each kind the plan has, as fields of a log line."""
        return dict(Counter(type(effect).__name__ for effect in self.effects))


def plan(state: State, *, now_s: float) -> Plan:
    """Return the effects that are due.

    The caller reduces `Issued` for each as it carries it out. `next_wake_s` of the state after that is when
    to plan again although nothing happens until then.
    """
    return Plan(tuple(_Planner(state, now_s).effects()))


def concerns_plan(before: State, after: State) -> bool:
    """Return whether anything that a plan or `next_wake_s` looks at has changed, apart from the time.

    Where nothing has, and what was planned for `before` was issued, the plan of `after` is empty until the
    `next_wake_s` of `before`; being seen only postpones when silence makes a host lost. Compares
    identities: what did not change is the same object.
    """
    was, now = before.observed, after.observed
    return (
        before.desired is not after.desired
        or before.open_requests is not after.open_requests
        or was.hosts is not now.hosts
        or was.replicas is not now.replicas
        or was.bus_connected is not now.bus_connected
    )


class _Planner:
    """One pass over one state; holds what is the same for every replica in it."""

    def __init__(self, state: State, now_s: float) -> None:
        self._state = state
        self._now_s = now_s
        self._hosts = state.observed.hosts
        self._serving = serving_components(state)
        self._host_by_key = {host.key: host_id for host_id, host in self._hosts.items() if not host.foreign}
        self._command_numbers = count(state.next_command)

    def effects(self) -> Iterator[PlannedEffect]:
        """Yield every effect: ends first, since what is new may wait for them."""
        yield from self._host_ends()
        replicas = tuple(all_replicas(self._state))
        yield from self._stops(replicas)
        yield from self._spawns(replicas)
        yield from self._starts(replicas)

    # Hosts that have to go.

    def _host_ends(self) -> Iterator[PlannedEffect]:
        for host_id, host in self._hosts.items():
            effect = None if host.foreign else self._host_end(host_id, host)
            if effect is not None:
                yield effect

    def _host_end(self, host_id: str, host: HostRecord) -> PlannedEffect | None:
        if host.phase is HostPhase.LOST:
            return KillHost(host_id, "it was silent for three heartbeats")
        if is_due(host_deadline_s(self._state, host), self._now_s):
            return KillHost(host_id, _OVERDUE[host.phase])
        if host.phase is HostPhase.STOPPING or self._is_in_use(host_id, host):
            return None
        if any(is_abandoned(record) for _, record in replicas_of(self._state, host_id)):
            return KillHost(host_id, "its replicas did not stop in time")
        return StopHost(host_id)

    def _is_in_use(self, host_id: str, host: HostRecord) -> bool:
        replicas = replicas_of(self._state, host_id)
        if is_unheard(host) or any(record.state in LIVE for _, record in replicas):
            return True
        if is_stale_host(self._state, host):
            return False
        return any(
            is_needed(self._state, replica, record) and self._belongs_in(host, replica, record)
            for replica, record in replicas
        )

    def _belongs_in(self, host: HostRecord, replica: str, record: ReplicaRecord) -> bool:
        return host.key == key_of(self._state, replica, record.component)

    # Replicas that have to stop.

    def _stops(self, replicas: tuple[tuple[str, ReplicaRecord], ...]) -> Iterator[PlannedEffect]:
        stops = Stops(self._state, serving=self._serving)
        for replica, record in replicas:
            if record.host is None or not self._can_be_told(record):
                continue
            if is_stop_in_flight(record):
                yield from self._resent_stop(replica, record)
            elif record.state in LIVE and stops.must_stop(replica, record):
                spec = self._state.desired.components[record.component].spec
                command_id = self._next_command_id()
                yield SendStop(replica, spec.name, record.host, command_id, spec.grace_period_s)

    def _resent_stop(self, replica: str, record: ReplicaRecord) -> Iterator[PlannedEffect]:
        command = record.command
        if command and record.host and is_due(resend_at_s(self._state, record), self._now_s):
            yield SendStop(replica, record.component, record.host, command.id, command.grace_period_s)

    # Hosts that are missing.

    def _spawns(self, replicas: tuple[tuple[str, ReplicaRecord], ...]) -> Iterator[PlannedEffect]:
        numbers = count(self._state.next_host)
        missing = dict.fromkeys(
            key_of(self._state, replica, record.component)
            for replica, record in replicas
            if self._may_run_now(replica, record) and self._host_for(replica, record) is None
        )
        by_key = placed(self._state) if missing else {}
        for key in missing:
            if key not in self._host_by_key:
                to_place = tuple(entry for entry in by_key[key] if not self._is_elsewhere(entry[0]))
                yield SpawnHost(f"h{self._state.epoch}-{next(numbers)}", key, to_place)

    def _is_elsewhere(self, replica: str) -> bool:
        """Return whether the replica runs, or may still run, in another host."""
        record = self._state.observed.replicas.get(replica)
        if record is None or record.host is None or record.host not in self._hosts:
            return False
        if record.state in LIVE or is_abandoned(record) or is_foreign(self._state, record):
            return True
        if is_in_unheard_host(self._state, record):
            return True
        return self._belongs_in(self._hosts[record.host], replica, record)

    # Replicas that have to start.

    def _starts(self, replicas: tuple[tuple[str, ReplicaRecord], ...]) -> Iterator[PlannedEffect]:
        for replica, record in replicas:
            command = record.command
            if command and command.kind is CommandKind.START and record.host:
                if is_due(resend_at_s(self._state, record), self._now_s):
                    yield self._send_start(replica, record, record.host, command.id)
            elif self._may_run_now(replica, record) and self._dependencies_serve(record.component):
                yield from self._start(replica, record)

    def _start(self, replica: str, record: ReplicaRecord) -> Iterator[PlannedEffect]:
        host_id = self._host_for(replica, record)
        if host_id is None:
            return
        host = self._hosts[host_id]
        # A foreign host starts its replicas once; after an end it waits to be told, like any other.
        starts_by_itself = host.foreign and record.state is ReplicaState.PENDING and not record.again
        if host.phase is HostPhase.UP and not starts_by_itself and not is_stale_host(self._state, host):
            yield self._send_start(replica, record, host_id, self._next_command_id())

    def _host_for(self, replica: str, record: ReplicaRecord) -> str | None:
        """Return the host that the replica runs in next: a foreign one as it is, else the one of its key."""
        if is_foreign(self._state, record):
            return record.host
        return self._host_by_key.get(key_of(self._state, replica, record.component))

    def _send_start(self, replica: str, record: ReplicaRecord, host_id: str, command_id: str) -> SendStart:
        component, followed = record.component, self._hosts[host_id].components
        via = "" if component in followed else min(followed, default="")
        return SendStart(replica, component, host_id, command_id, via)

    def _may_run_now(self, replica: str, record: ReplicaRecord) -> bool:
        # The state first: most replicas run, and nothing else has to be asked of them.
        match record.state:
            case ReplicaState.PENDING | ReplicaState.STOPPED:
                may = True
            case ReplicaState.BACKOFF:
                may = is_due(record.retry_at_s, self._now_s)
            case _:
                may = False
        return (
            may
            and not is_abandoned(record)
            and not is_in_unheard_host(self._state, record)
            and is_needed(self._state, replica, record)
        )

    def _dependencies_serve(self, component: str) -> bool:
        return not missing_dependencies(self._state, component, self._serving)

    def _can_be_told(self, record: ReplicaRecord) -> bool:
        host = self._hosts.get(record.host) if record.host else None
        return host is not None and host.phase is HostPhase.UP

    def _next_command_id(self) -> str:
        return f"{self._state.epoch}-{next(self._command_numbers)}"


_OVERDUE = {
    HostPhase.SPAWNING: "it sent no heartbeat in time",
    HostPhase.UP: "its replica was not ready in time",
    HostPhase.LOST: "it was silent for three heartbeats",
    HostPhase.STOPPING: "it did not end in time",
}
