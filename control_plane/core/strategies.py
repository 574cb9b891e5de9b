"""Whom a failure drags along: those that depend on what failed, and its group.

The strategies of OTP's supervisors: rest-for-one along the dependency graph
(`on_dependency_failure = "restart"`), one-for-all for a group. They are replaced at once and not one by
one, since what they hold of the failed one's state is worth nothing any more; a start waits for what it
depends on, so that they come back in order.
"""

from __future__ import annotations

from collections.abc import Iterator

from contracts.status import ReplicaState
from control_plane.core.questions import live_components
from control_plane.core.rollouts import replaced
from control_plane.core.state import Desired, ReplicaRecord, State
from control_plane.core.transitions import SERVING


def followed(before: State, after: State) -> State:
    """Return the state after a step in which whoever a failure drags along is to be replaced."""
    known, now = before.observed.replicas, after.observed.replicas
    if now is known or not after.desired.drags_along:
        return after
    changed = [replica for replica, record in now.items() if record is not known.get(replica)]
    failed = {
        now[replica].component
        for replica in changed
        if _has_failed(known.get(replica), now[replica])
        and not _is_new_version(after.desired, known.get(replica), now[replica])
    }
    failed &= after.desired.components.keys()
    if not failed:
        return after
    live = live_components(after)
    for name in _dragged_along(after.desired, failed):
        if name not in live:
            continue  # What has not started holds nothing of the failed one.
        after = replaced(after, name, after.desired.components[name], rolling=False)
    return after


def _has_failed(was: ReplicaRecord | None, record: ReplicaRecord) -> bool:
    """Return whether an exit was counted in this step that was neither on purpose nor in order."""
    if record.state not in (ReplicaState.BACKOFF, ReplicaState.FAILED):
        return False
    return bool(record.exits) and (was is None or was.exits != record.exits)


def _is_new_version(desired: Desired, was: ReplicaRecord | None, record: ReplicaRecord) -> bool:
    """Return whether it was to stand in for one that serves and has not yet: nobody holds anything of it."""
    return record.component in desired.rolling and (was is None or was.state not in SERVING)


def _dragged_along(desired: Desired, failed: set[str]) -> list[str]:
    found: dict[str, None] = {}
    to_follow = sorted(failed)
    while to_follow:
        for name in _next_to(desired, to_follow.pop(0)):
            if name not in found:
                found[name] = None
                to_follow.append(name)
    return list(found)


def _next_to(desired: Desired, failed: str) -> Iterator[str]:
    group = desired.components[failed].spec.group
    for name, wanted in desired.components.items():
        follows = wanted.spec.on_dependency_failure == "restart" and failed in wanted.spec.depends_on
        if follows or (group in desired.one_for_all and wanted.spec.group == group):
            yield name
