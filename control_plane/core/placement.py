"""Placement: which replica runs in which host.

Replicas with one host key share a host; there is at most one live host of a key. A group's key holds a
full stop, which no replica id can, so that the two never meet.
"""

from __future__ import annotations

from collections.abc import Iterable

from contracts.specs import ComponentSpec, Mode

LOCAL_KEY = "local"
# Where `ctl move` puts replicas that are to have a process each.
ISOLATED = "isolated"


def replica_id(component: str, number: int) -> str:
    """Return the id of the replica with this number; numbers begin at 1."""
    return f"{component}-{number}"


def replica_ids(component: str, replicas: int) -> tuple[str, ...]:
    """Return the ids of the first `replicas` replicas."""
    return tuple(replica_id(component, number) for number in range(1, replicas + 1))


def host_key(mode: Mode, spec: ComponentSpec, replica: str, *, place: str = "") -> str:
    """Return the key of the host that the replica belongs in.

    Args:
        place: where an operator moved the component: a group, `isolated`, or nothing.

    Raises:
        ValueError: the mode is `auto`, which whoever launches resolves first.
    """
    match mode:
        case Mode.SINGLE:
            return LOCAL_KEY
        case Mode.MULTI | Mode.HYBRID if place:
            return replica if place == ISOLATED else f"group.{place}"
        case Mode.MULTI:
            return replica
        case Mode.HYBRID:
            return f"group.{spec.group}" if spec.group else replica
        case Mode.AUTO:
            raise ValueError("mode 'auto' must be resolved before replicas are placed")


def place(mode: Mode, components: Iterable[ComponentSpec]) -> dict[str, tuple[str, ...]]:
    """Return the replica ids of every host key, in the order of the components."""
    placed: dict[str, tuple[str, ...]] = {}
    for spec in components:
        for replica in replica_ids(spec.name, spec.replicas):
            key = host_key(mode, spec, replica)
            placed[key] = (*placed.get(key, ()), replica)
    return placed
