"""Which replicas have to stop now, and which of them wait for others first.

What is stopped on purpose goes in the order of the graph: whoever depends on it first, the gateway before
all. What is replaced one by one goes when the others can do its work.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from contracts.specs import GATEWAY
from contracts.status import ReplicaState
from control_plane.core import graph
from control_plane.core.questions import (
    broken_dependencies,
    is_down_wanted,
    is_stale,
    is_stop_in_flight,
    is_wanted,
    live_components,
    replicas_of_component,
)
from control_plane.core.rollouts import is_blocked
from control_plane.core.state import DesiredComponent, ReplicaRecord, State
from control_plane.core.transitions import SERVING


class Stops:
    """One pass over one state; a replica that it lets go is not counted on any more."""

    def __init__(self, state: State, *, serving: frozenset[str]) -> None:
        self._state = state
        self._serving = serving
        self._live = live_components(state)
        depends_on = state.desired.depends_on
        # Clients first: what they have asked for still needs everything behind the gateway.
        self._depends_on = graph.front_first(depends_on, GATEWAY) if state.desired.stopping else depends_on
        self._let_go: defaultdict[str, set[str]] = defaultdict(set)

    def must_stop(self, replica: str, record: ReplicaRecord) -> bool:
        """Return whether the replica, which runs, is to be told to stop now."""
        wanted = self._state.desired.components.get(record.component)
        if wanted is None:
            return False  # Somebody else's, under our application's name: observed, and left alone.
        if is_down_wanted(self._state, record.component):
            return not self._dependents_to_wait_for(record.component)
        if not is_wanted(self._state, replica, record):
            return True
        if is_stale(self._state, record):
            return not wanted.rolling or self._can_be_spared(replica, record, wanted)
        return bool(broken_dependencies(self._state, record.component, self._serving))

    def _dependents_to_wait_for(self, component: str) -> bool:
        return any(
            name in self._live and is_down_wanted(self._state, name)
            for name in self._dependents.get(component, ())
        )

    @cached_property
    def _dependents(self) -> graph.Graph:
        return graph.dependents(self._depends_on)

    def _can_be_spared(self, replica: str, record: ReplicaRecord, wanted: DesiredComponent) -> bool:
        if record.state not in SERVING:
            return True
        if is_blocked(self._state, record.component):
            return False
        # A replica that is not well does not stand in for one that is.
        good = {ReplicaState.READY} if record.state is ReplicaState.READY else SERVING
        gone = self._let_go[record.component]
        others = sum(
            other.state in good
            and name != replica
            and name not in gone
            and not is_stop_in_flight(other)
            and is_wanted(self._state, name, other)
            for name, other in replicas_of_component(self._state, record.component)
        )
        if others < wanted.replicas:
            return False
        gone.add(replica)
        return True
