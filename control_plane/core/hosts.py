"""How the state changes with what happens to hosts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from contracts.messages import (
    CommandCompleted,
    CommandFailed,
    ComponentTransitioned,
    HostHeartbeat,
    HostStopping,
)
from contracts.status import ReplicaState
from control_plane.core.deadlines import drain_limit_s, spawn_limit_s
from control_plane.core.inputs import HostDelayed, HostExited, HostSpared, HostSpawned, Moment, SpawnFailed
from control_plane.core.questions import host_of, is_given_up, key_of, replicas_of
from control_plane.core.records import Exit, changed, exited, stopped
from control_plane.core.sightings import Sighting, from_report, from_transition, observe, with_health
from control_plane.core.state import Command, CommandKind, HostPhase, HostRecord, ReplicaRecord, State, Vitals
from control_plane.core.transitions import LIVE

# Processes.


def spawned(state: State, event: HostSpawned, at: Moment) -> State:
    """Note the process of a host that was asked for, or adopt one that was there before."""
    host = state.observed.hosts.get(event.host)
    if host is not None:
        return state.with_host(event.host, replace(host, pid=event.pid, awaits=""))
    if event.host in state.observed.exited_hosts:
        return state  # It ended before the answer to its spawn was told.
    return _adopted(state, event, at)


def delayed(state: State, event: HostDelayed) -> State:
    """Note what the making of a host waits for."""
    host = state.observed.hosts.get(event.host)
    return state if host is None else state.with_host(event.host, replace(host, awaits=event.why))


def ended(state: State, host_id: str, how: Exit, at: Moment) -> State:
    """Take a host out, and let each of its replicas be restarted as its policy says."""
    if host_id in state.observed.hosts:
        state = state.with_replicas(
            {
                replica: _without_host(state, replica, record, how, at)
                for replica, record in replicas_of(state, host_id)
            }
        )
    return state.without_host(host_id).with_exited(host_id)


def exit_of(state: State, event: HostExited) -> Exit:
    """Return how the host ended, in words."""
    host = state.observed.hosts.get(event.host)
    before = " before it was up" if host and host.phase is HostPhase.SPAWNING else ""
    if event.signal is not None and event.killed_because:
        return Exit(f"its process was killed{before}: {event.killed_because}")
    if event.signal is not None:
        return Exit(f"its process was killed by signal {event.signal}{before}")
    clean = event.exit_code == 0 and not before
    return Exit(f"its process exited with code {event.exit_code}{before}", clean=clean)


def spawn_failure(event: SpawnFailed) -> Exit:
    """Return how a host that never was ended."""
    what, why = event.error.get("what") or "its process could not be made", event.error.get("why")
    return Exit(f"{what}: {why}" if why else str(what), error=event.error)


def _without_host(state: State, replica: str, record: ReplicaRecord, how: Exit, at: Moment) -> ReplicaRecord:
    host = host_of(state, record)
    if is_given_up(record):
        after = record
    elif host is not None and host.dismissed:
        after = stopped(record, at, reason=record.reason)
    else:
        after = exited(state, replica, record, how, at)
    vitals = state.observed.vitals.get(record.host or "", Vitals())
    return replace(after, host=None, last_health=vitals.health.get(replica))


def _adopted(state: State, event: HostSpawned, at: Moment) -> State:
    known = [(replica, name) for replica, name in event.replicas if name in state.desired.components]
    if not known:
        return state
    records: dict[str, ReplicaRecord] = {}
    for replica, name in known:
        # What is remembered of it stays; whether it runs, its host will say.
        record = state.observed.replicas.get(replica) or ReplicaRecord(name)
        generation = record.generation or state.desired.components[name].generation
        records[replica] = replace(record, host=event.host, generation=generation)
    state, replicas = state.with_replicas(records), tuple(records)
    host = HostRecord(
        event.key or key_of(state, *known[0]),
        replicas,
        components=frozenset(name for _, name in known),
        adopted=True,
        pid=event.pid,
        generation=min(record.generation for record in records.values()),
        spawned_at_s=at.now_s,
        deadline_s=at.now_s + spawn_limit_s(state, replicas),
    )
    return state.with_host(event.host, host).with_vitals(event.host, Vitals(at.now_s))


def spared(state: State, event: HostSpared, at: Moment) -> State:
    """Take a host for what it was before the order to kill it.

    One that was silent is lost again, unless it has spoken since; what was overdue is so still.
    """
    host = state.observed.hosts.get(event.host)
    if host is None or host.killed_in is None:
        return state
    was_overdue = host.killed_in is HostPhase.STOPPING or not _has_spoken(host)
    before = replace(
        host,
        phase=host.killed_in if was_overdue else HostPhase.UP,
        deadline_s=at.now_s if was_overdue else None,
        killed_in=None,
    )
    return state.with_host(event.host, before)


def _has_spoken(host: HostRecord) -> bool:
    return host.interval_s > 0


# Messages.


def heartbeat(state: State, event: HostHeartbeat, at: Moment) -> State:
    """Take in the whole truth about a host; replicas it does not name are not in it."""
    host = state.observed.hosts.get(event.host)
    if host is None and not event.autostarted:
        return state  # Not one of ours, or no longer.
    host = host or HostRecord(event.host, (), foreign=True, spawned_at_s=at.now_s)
    state = _seen(state, event, host, at)
    state = observe(state, event.host, map(from_report, event.replicas), at)
    return _unnamed(state, event, host.replicas, at)


def transitioned(state: State, event: ComponentTransitioned, at: Moment) -> State:
    """Take in a transition of a replica that the host was given."""
    host = state.observed.hosts.get(event.host)
    if host is None or event.replica not in host.replicas:
        return state
    if event.to_state in LIVE:
        state = with_health(state, event.host, event.replica, event.health)
    return observe(state, event.host, [from_transition(event)], at)


def stopping(state: State, event: HostStopping, at: Moment) -> State:
    """Note that a host ends by itself."""
    host = state.observed.hosts.get(event.host)
    if host is None or host.phase is HostPhase.STOPPING:
        return state
    deadline_s = at.now_s + drain_limit_s(state, host.replicas)
    return state.with_host(event.host, replace(host, phase=HostPhase.STOPPING, deadline_s=deadline_s))


def completed(state: State, event: CommandCompleted, at: Moment) -> State:
    """Take a completed stop as the sighting it implies; a start that completed may have failed."""
    command = _in_flight(state, event)
    if command is None or command.kind is not CommandKind.STOP:
        return state
    record = state.observed.replicas[event.replica]
    return state.with_replica(event.replica, stopped(record, at, reason=record.reason))


def failed(state: State, event: CommandFailed, at: Moment) -> State:
    """Count a refused start as an exit; a refused stop runs into its deadline."""
    command = _in_flight(state, event)
    if command is None or command.kind is not CommandKind.START:
        return state
    how = Exit(str(event.error.get("what") or "its host refused to start it"), error=event.error)
    record = exited(state, event.replica, state.observed.replicas[event.replica], how, at)
    return state.with_replica(event.replica, record)


def _in_flight(state: State, event: CommandCompleted | CommandFailed) -> Command | None:
    record = state.observed.replicas.get(event.replica)
    command = record.command if record else None
    return command if command and command.id == event.command_id else None


def _seen(state: State, event: HostHeartbeat, host: HostRecord, at: Moment) -> State:
    came_back = host.phase is HostPhase.LOST or (host.foreign and host.pid != event.pid)
    came_up = host.phase is HostPhase.SPAWNING or came_back
    named = tuple(report.replica for report in event.replicas)
    reported = changed(
        host,
        # A host that was taken over may hold more than it was made with.
        replicas=named if host.foreign else tuple(dict.fromkeys((*host.replicas, *named))),
        components=host.components | {report.component for report in event.replicas},
        phase=HostPhase.UP if came_up else host.phase,
        deadline_s=None if came_up else host.deadline_s,
        pid=event.pid,
        node=event.node,
        endpoint=event.endpoint,
        public_url=event.public_url,
        interval_s=event.interval_s,
    )
    if reported is not state.observed.hosts.get(event.host):
        state = state.with_host(event.host, reported)
    return state.with_vitals(event.host, _vitals(state, event, at))


def _vitals(state: State, event: HostHeartbeat, at: Moment) -> Vitals:
    before = state.observed.vitals.get(event.host, Vitals())
    # Of what has ended, the last answer while it ran says more than none.
    answers = {
        report.replica: report.health if report.state in LIVE else before.health.get(report.replica)
        for report in event.replicas
    }
    return Vitals(
        last_seen_s=at.now_s,
        rss_bytes=event.rss_bytes,
        cpu_percent=event.cpu_percent,
        log_loss=event.log_loss,
        health={replica: health for replica, health in answers.items() if health},
    )


def _unnamed(state: State, event: HostHeartbeat, given: Iterable[str], at: Moment) -> State:
    named = {report.replica for report in event.replicas}
    for replica in (replica for replica in given if replica not in named):
        record = state.observed.replicas[replica]
        if record.host != event.host:
            continue
        if event.autostarted:
            state = state.without_replica(replica)
        elif record.state in LIVE:
            unnamed = Sighting(replica, record.component, ReplicaState.PENDING)
            state = observe(state, event.host, [unnamed], at)
    return state
