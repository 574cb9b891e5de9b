"""The one table of replica states: which may follow which, and what each means.

A host moves a replica along this table, and so does the control plane. Only a heartbeat may jump: it
says where a replica is now, whatever was missed in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from contracts.status import ReplicaState as S

MEANINGS: Final[Mapping[S, str]] = {
    S.PENDING: "wanted; its host, or something it depends on, is not ready yet",
    S.STARTING: "told to start; has not answered a health check yet",
    S.READY: "healthy; gets work",
    S.DEGRADED: "alive, but its health check says it is not well",
    S.DRAINING: "finishes what is in flight; takes nothing new",
    S.STOPPING: "runs its shutdown",
    S.STOPPED: "down on purpose, or finished",
    S.BACKOFF: "exited; waits to be started again",
    S.FAILED: "exited, and is not started again until somebody asks",
    S.LOST: "its host has been silent for three heartbeats",
}

# Where a replica lands when its process goes away under it.
_GONE: Final = frozenset({S.STOPPED, S.BACKOFF, S.FAILED, S.LOST})

TRANSITIONS: Final[Mapping[S, frozenset[S]]] = {
    S.PENDING: frozenset({S.STARTING, S.STOPPED, S.BACKOFF, S.FAILED}),
    S.STARTING: frozenset({S.READY, S.DEGRADED, S.DRAINING, S.STOPPING}) | _GONE,
    S.READY: frozenset({S.DEGRADED, S.DRAINING}) | _GONE,
    S.DEGRADED: frozenset({S.READY, S.DRAINING}) | _GONE,
    S.DRAINING: frozenset({S.STOPPING}) | _GONE,
    S.STOPPING: _GONE,
    S.STOPPED: frozenset({S.PENDING, S.STARTING, S.BACKOFF, S.FAILED}),
    S.BACKOFF: frozenset({S.PENDING, S.STARTING, S.STOPPED}),
    S.FAILED: frozenset({S.PENDING, S.STARTING, S.STOPPED, S.BACKOFF}),
    S.LOST: frozenset({S.READY, S.DEGRADED, S.STOPPED, S.BACKOFF, S.FAILED}),
}

SERVING: Final = frozenset({S.READY, S.DEGRADED})
LIVE: Final = frozenset({S.STARTING, S.READY, S.DEGRADED, S.DRAINING, S.STOPPING, S.LOST})
DOWN: Final = frozenset(S) - LIVE


def can(from_state: S, to_state: S) -> bool:
    """Return whether a replica may go from one state to the other in one step."""
    return to_state in TRANSITIONS[from_state]
