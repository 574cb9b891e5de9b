"""What must hold after every step of the simulated world, whatever happened before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import inf

from contracts.messages import Message
from contracts.status import ReplicaState
from control_plane.core.deadlines import is_due, next_wake_s
from control_plane.core.effects import KillHost, PlannedEffect, SendStart, SendStop, SpawnHost, StopHost
from control_plane.core.inputs import Input, TimePassed
from control_plane.core.questions import (
    broken_dependencies,
    is_down_wanted,
    is_needed,
    is_stale,
    is_wanted,
    live_components,
    missing_dependencies,
    serving_components,
)
from control_plane.core.reconciler import Plan, concerns_plan, plan
from control_plane.core.state import ReplicaRecord, State
from control_plane.core.transitions import LIVE, can


class Rules:
    """Checks; remembers the starts of each replica since an operator last asked for something."""

    def __init__(self) -> None:
        self._starts: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self._last_wake_s = -1.0
        self._planned: State | None = None
        self._wake_at_s: float | None = None

    def forgive(self, component: str) -> None:
        """Begin to count restarts anew: an operator asked for one."""
        for run in [name for name in self._starts if name.partition("@")[0].rpartition("-")[0] == component]:
            del self._starts[run]

    def check_effect(self, state: State, effect: PlannedEffect, *, now_s: float) -> None:
        """Check an effect against the state that it was planned in."""
        match effect:
            case SendStart():
                self._check_start(state, effect, now_s=now_s)
            case SpawnHost():
                keys = [host.key for host in state.observed.hosts.values() if not host.foreign]
                assert effect.key not in keys, f"two hosts of key {effect.key}"
                assert any(is_needed(state, r, _record(state, r, c)) for r, c in effect.replicas), (
                    "needless host"
                )
            case StopHost(host) | KillHost(host):
                assert not state.observed.hosts[host].foreign, "ended somebody else's host"
            case SendStop(replica):
                self._check_stop(state, replica)

    def check_plan(self, state: State, event: Input, *, now_s: float) -> None:
        """Check that what was issued is not issued again, and that the timer does not spin."""
        assert plan(state, now_s=now_s).effects == ()
        self._planned, self._wake_at_s = state, next_wake_s(state)
        if isinstance(event, TimePassed):
            # Once more at the same time is allowed: what was overdue may be followed by an immediate retry.
            is_ahead = self._wake_at_s is None or self._wake_at_s > now_s
            assert is_ahead or now_s > self._last_wake_s, "the timer spins"
            self._last_wake_s = now_s

    def check_need(self, state: State, made: Plan, *, now_s: float) -> None:
        """Check that a plan changes nothing where nothing calls for one, and that it would wake no sooner."""
        if self._planned is None or concerns_plan(self._planned, state):
            return
        wake_at_s = next_wake_s(state)
        assert is_due(wake_at_s, now_s) or not made.effects, "due before it said so"
        if not is_due(self._wake_at_s, now_s):
            assert not made.effects, "needed after all"
            assert (wake_at_s or inf) >= (self._wake_at_s or inf), "the old time to wake is too late"

    def check_moves(self, before: State, after: State, event: Input) -> None:
        """Check that only what a host says makes a replica jump."""
        if isinstance(event, Message) and event.type not in ("start", "stop", "restart", "scale", "move"):
            return
        for name, record in after.observed.replicas.items():
            was = before.observed.replicas.get(name)
            if was is not None and was.state is not record.state:
                assert can(was.state, record.state), f"{name}: {was.state} -> {record.state} on {event}"

    def check_truth(self, replicas: Iterable[tuple[str, str, ReplicaState]]) -> None:
        """Check that no id is live twice in the real machine."""
        live = Counter(name for _, name, state in replicas if state in LIVE)
        assert all(count == 1 for count in live.values()), f"live twice: {live}"

    def _check_stop(self, state: State, replica: str) -> None:
        record = state.observed.replicas[replica]
        if is_down_wanted(state, record.component) and record.command is None:
            above = {
                name
                for name in live_components(state)
                if is_down_wanted(state, name) and record.component in _depends_on(state, name)
            }
            assert not above, f"{replica} stopped before {above}"
        else:
            assert (
                record.command
                or is_stale(state, record)
                or not is_wanted(state, replica, record)
                or broken_dependencies(state, record.component, serving_components(state))
            )
            self._check_work_is_left(state, replica, record)

    def _check_work_is_left(self, state: State, replica: str, record: ReplicaRecord) -> None:
        """Check that a rolling replacement never leaves fewer ready replicas than are wanted."""
        wanted = state.desired.components[record.component]
        if not wanted.rolling or record.state is not ReplicaState.READY or record.command:
            return
        if not is_wanted(state, replica, record) or broken_dependencies(
            state, record.component, serving_components(state)
        ):
            return
        ready = sum(
            other.component == record.component
            and other.state is ReplicaState.READY
            and not other.command
            and is_wanted(state, name, other)
            for name, other in state.observed.replicas.items()
        )
        assert ready > wanted.replicas, f"{replica} stopped with {ready} ready of {wanted.replicas}"

    def _check_start(self, state: State, effect: SendStart, *, now_s: float) -> None:
        record = _record(state, effect.replica, effect.component)
        is_resent = record.command is not None and record.command.id == effect.command_id
        assert is_wanted(state, effect.replica, record) or is_resent, "started what nobody wants"
        if is_resent:
            return
        missing = missing_dependencies(state, effect.component, serving_components(state))
        assert not missing, f"{effect.replica} started before {missing}"
        wanted = state.desired.components[effect.component]
        policy = wanted.spec.restart
        if wanted.spec.on_dependency_failure == "wait":
            return  # it may be told to stop and start as often as what it depends on
        # Replaced because others failed: that is not its own crash loop.
        starts = self._starts[f"{effect.replica}@{wanted.generation}"]
        starts[effect.command_id] = now_s
        recent = [at_s for at_s in starts.values() if at_s > now_s - policy.window_s]
        assert len(recent) <= policy.max_restarts + 1, f"{effect.replica} started {len(recent)} times"


def _depends_on(state: State, component: str) -> tuple[str, ...]:
    wanted = state.desired.components.get(component)
    return wanted.spec.depends_on if wanted else ()


def _record(state: State, replica: str, component: str) -> ReplicaRecord:
    return state.observed.replicas.get(replica) or ReplicaRecord(component)
