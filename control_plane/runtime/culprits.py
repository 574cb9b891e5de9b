"""Says whose code is on a stack: the line to blame, and the replica it runs for.

The replica is that of the innermost frame of ours whose `self` has a `replica_id`: whatever runs a
component's code (`Replica`, `Guard`, `OwnedTasks`, `BusSubscriber`) has one, and an `await` keeps it on the
stack. A task or a callback that the component made itself has no such frame; then the innermost frame
decides whose module is the one a component's `use` names, or lies below it, or beside it in a package that
no other component of the host has.

The line is the innermost one that is neither ours nor of the standard library nor of an installed
package, or that belongs to a component; where there is none, the innermost of all.
"""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import contracts
from contracts.specs import ReplicaSpec

MAX_FRAMES = 20
MAX_STACK_CHARS = 4_000

_ROOT = Path(__file__).resolve().parents[2]
_OURS = tuple(
    f"{folder}/"
    for folder in (_ROOT / "control_plane", _ROOT / "components" / "adapters", *contracts.__path__)
)
_LIBRARY = (*{f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib")}, "<")
_INSTALLED = ("/site-packages/", "/dist-packages/")


@dataclass(frozen=True)
class Place:
    """Where a thread was: the line to blame as `file:line in function`, whose it is, and the stack."""

    culprit: str
    component: str = ""
    replica: str = ""
    stack: str = ""


class Culprits:
    """Knows the replicas of one host; stacks are given innermost frame first."""

    def __init__(self, replicas: Callable[[], Collection[ReplicaSpec]], *, project: str) -> None:
        self._replicas = replicas
        self._project = f"{project}/" if project else ""

    def line(self, frames: Sequence[FrameType]) -> str:
        """Return the line to blame."""
        specs = self._replicas()
        blamed = next((frame for frame in frames if _is_users(frame, specs)), frames[0])
        file = blamed.f_code.co_filename.removeprefix(self._project)
        return f"{file}:{blamed.f_lineno} in {blamed.f_code.co_qualname}"

    def place(self, frames: Sequence[FrameType]) -> Place:
        """Return everything that is said of a stack."""
        specs = self._replicas()
        component, replica, depth = _owner(frames, specs)
        theirs = [frame for frame in frames[:depth] if not frame.f_code.co_filename.startswith(_OURS)]
        users = [number for number, frame in enumerate(theirs) if _is_users(frame, specs)]
        # From the user's outermost frame inwards: outside it are only frameworks.
        shown = theirs[: users[-1] + 1] if users else theirs
        return Place(self.line(frames), component, replica, _text(shown[:MAX_FRAMES]))


def _owner(frames: Sequence[FrameType], specs: Collection[ReplicaSpec]) -> tuple[str, str, int]:
    """Return whose the stack is, and how many frames, from the innermost, are in that replica's code."""
    by_id = {spec.id: spec.component.name for spec in specs}
    for depth, frame in enumerate(frames):
        replica = _named_by(frame)
        if replica in by_id:
            return by_id[replica], replica, depth
    for frame in frames:
        component = _component_of(frame, specs)
        if component:
            mine = [spec.id for spec in specs if spec.component.name == component]
            return component, mine[0] if len(mine) == 1 else "", len(frames)
    return "", "", len(frames)


def _named_by(frame: FrameType) -> str:
    if not frame.f_code.co_filename.startswith(_OURS):
        return ""
    return str(getattr(frame.f_locals.get("self"), "replica_id", ""))


def _component_of(frame: FrameType, specs: Collection[ReplicaSpec]) -> str:
    module = f"{frame.f_globals.get('__name__', '')}."
    homes = {spec.component.name: spec.component.use.partition(":")[0] for spec in specs}
    depths = {name: len(home) for name, home in homes.items() if module.startswith(f"{home}.")}
    deepest = [name for name, depth in depths.items() if depth == max(depths.values())]
    beside = [name for name, home in homes.items() if _package(home) and module.startswith(_package(home))]
    found = deepest or beside
    return found[0] if len(found) == 1 else ""


def _package(module: str) -> str:
    return "".join(module.rpartition(".")[:2])


def _is_users(frame: FrameType, specs: Collection[ReplicaSpec]) -> bool:
    file = frame.f_code.co_filename
    if file.startswith(_OURS):
        return False
    foreign = file.startswith(_LIBRARY) or any(part in file for part in _INSTALLED)
    return not foreign or bool(_component_of(frame, specs))


def _text(frames: Sequence[FrameType]) -> str:
    """Format frames as a traceback does: the innermost last, and kept where there are too many."""
    entries = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(frames)).format()
    while entries and sum(map(len, entries)) > MAX_STACK_CHARS:
        del entries[0]
    return "".join(entries).rstrip()
