"""When what is awaited is overdue: one function for each wait, for whoever acts on it and for the timer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from contracts.status import ReplicaState
from control_plane.core.placement import LOCAL_KEY
from control_plane.core.questions import host_of, is_abandoned, spec_of, specs_of
from control_plane.core.state import CommandKind, HostPhase, HostRecord, ReplicaRecord, State

MISSED_HEARTBEATS: Final = 3
# A timer that comes later than this says that the control plane was stalled, not that hosts were silent.
OVERSLEPT_S: Final = 2.0
# An unacknowledged command is sent again; a heartbeat younger than that may be older than the command.
RESEND_S: Final = 5.0
# On top of what the host allows itself, so that the host's own and better report comes first.
START_SLACK_S: Final = 5.0
STOP_SLACK_S: Final = 2.0
# From the polite stop of a host whose replicas are down, or from its kill, to the next kill.
EXIT_TIMEOUT_S: Final = 5.0


def next_wake_s(state: State) -> float | None:
    """Return the earliest time at which something is due although nothing happens until then."""
    deadlines = (request.deadline_s for request in state.open_requests)
    return min((*_of_hosts(state), *_of_replicas(state), *deadlines), default=None)


def spawn_limit_s(state: State, replicas: tuple[str, ...]) -> float:
    """Return how long a host may take until its first heartbeat."""
    return max((spec.startup_timeout_s for spec in specs_of(state, replicas)), default=EXIT_TIMEOUT_S)


def drain_limit_s(state: State, replicas: tuple[str, ...]) -> float:
    """Return how long a host that ends by itself may take."""
    return EXIT_TIMEOUT_S + max((spec.grace_period_s for spec in specs_of(state, replicas)), default=0.0)


def host_deadline_s(state: State, host: HostRecord) -> float | None:
    """Return when the host is to be killed. A spawn cannot be seen to end while the bus is away."""
    if host.foreign or (host.phase is HostPhase.SPAWNING and not state.observed.bus_connected):
        return None
    return host.deadline_s


def lost_at_s(state: State, host_id: str) -> float | None:
    """Return when silence makes the host lost. The local one shares our process, and our silences."""
    host = state.observed.hosts[host_id]
    if host.phase is not HostPhase.UP or host.key == LOCAL_KEY or not state.observed.bus_connected:
        return None
    return state.observed.vitals[host_id].last_seen_s + MISSED_HEARTBEATS * host.interval_s


def forgotten_at_s(state: State, host_id: str) -> float | None:
    """Return when a foreign host is forgotten: after as much silence again."""
    host = state.observed.hosts[host_id]
    if not host.foreign or host.phase is HostPhase.UP or not state.observed.bus_connected:
        return None
    return state.observed.vitals[host_id].last_seen_s + 2 * MISSED_HEARTBEATS * host.interval_s


def start_overdue_s(state: State, record: ReplicaRecord) -> float | None:
    """Return when a start is given up; the host has its own, earlier limit."""
    spec = spec_of(state, record.component)
    host = host_of(state, record)
    if record.state is not ReplicaState.STARTING or spec is None or host is None or host.foreign:
        return None
    if host.phase is not HostPhase.UP or not state.observed.bus_connected:
        return None
    return record.since_s + spec.startup_timeout_s + START_SLACK_S


def stop_overdue_s(state: State, record: ReplicaRecord) -> float | None:
    """Return when a replica that was told to stop is no longer waited for.

    While the bus is away it may not have been told. At the end of everything its host is told by a signal.
    """
    command = record.command
    if command is None or command.kind is not CommandKind.STOP or is_abandoned(record):
        return None
    if not state.observed.bus_connected and not state.desired.stopping:
        return None
    return command.issued_at_s + command.grace_period_s + STOP_SLACK_S


def resend_at_s(state: State, record: ReplicaRecord) -> float | None:
    """Return when the command in flight is sent again."""
    command, host = record.command, host_of(state, record)
    if command is None or command.acknowledged:
        return None
    if host is None or host.phase is not HostPhase.UP or not state.observed.bus_connected:
        return None
    return command.sent_at_s + RESEND_S


def is_due(at_s: float | None, now_s: float) -> bool:
    """Return whether the time, if there is one, has come."""
    return at_s is not None and now_s >= at_s


def _of_hosts(state: State) -> Iterator[float]:
    for host_id, host in state.observed.hosts.items():
        times = (host_deadline_s(state, host), lost_at_s(state, host_id), forgotten_at_s(state, host_id))
        yield from (at_s for at_s in times if at_s is not None)


def _of_replicas(state: State) -> Iterator[float]:
    for record in state.observed.replicas.values():
        if record.command is None and record.retry_at_s is None and record.state is not ReplicaState.STARTING:
            continue  # nobody waits for it; so it is with nearly all of them, nearly always
        times = (
            record.retry_at_s,
            start_overdue_s(state, record),
            stop_overdue_s(state, record),
            resend_at_s(state, record),
        )
        yield from (at_s for at_s in times if at_s is not None)
