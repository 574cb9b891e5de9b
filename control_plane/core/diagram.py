"""Draws docs/states.md from the transition table: `python -m control_plane.core.diagram >docs/states.md`."""

from __future__ import annotations

from contracts.status import ReplicaState
from control_plane.core.transitions import MEANINGS, TRANSITIONS


def mermaid() -> str:
    """Return the transition table as a Mermaid state diagram."""
    edges = [
        f"    {source} --> {target}" for source in ReplicaState for target in _ordered(TRANSITIONS[source])
    ]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {ReplicaState.PENDING}", *edges])


def markdown() -> str:
    """Return the whole page."""
    rows = [f"| `{state}` | {MEANINGS[state]} |" for state in ReplicaState]
    return "\n".join(
        [
            "# States of a replica",
            "",
            "Generated from `control_plane/core/transitions.py` by `python -m control_plane.core.diagram`.",
            "",
            "| state | meaning |",
            "| --- | --- |",
            *rows,
            "",
            "A heartbeat may jump: it says where a replica is now, whatever was missed in between.",
            "",
            "```mermaid",
            mermaid(),
            "```",
        ]
    )


def _ordered(states: frozenset[ReplicaState]) -> list[ReplicaState]:
    return [state for state in ReplicaState if state in states]


if __name__ == "__main__":
    print(markdown())
