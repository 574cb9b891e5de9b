"""The dependency graph: what may start together, and what must not be.

A graph is a mapping from a name to the names it depends on. Names that are no key of the mapping take
no part: what is not launched cannot be waited for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

Graph = Mapping[str, tuple[str, ...]]


def order(depends_on: Graph) -> tuple[tuple[str, ...], ...]:
    """Return the levels in starting order; names of one level may start together.

    Raises:
        ValueError: the graph has a cycle.
    """
    levels: list[tuple[str, ...]] = []
    left = {name: {dep for dep in deps if dep in depends_on} for name, deps in depends_on.items()}
    while left:
        level = tuple(sorted(name for name, deps in left.items() if not deps & left.keys()))
        if not level:
            raise ValueError(f"dependency cycle among {', '.join(sorted(left))}")
        levels.append(level)
        for name in level:
            del left[name]
    return tuple(levels)


def find_cycle(depends_on: Graph) -> tuple[str, ...] | None:
    """Return the names along one cycle, the first again at the end, or None."""
    finished: set[str] = set()
    for name in sorted(depends_on):
        cycle = _walk(depends_on, name, finished)
        if cycle:
            return cycle
    return None


def front_first(depends_on: Graph, front: str) -> Graph:
    """Return the graph in which `front` depends on everything that does not itself depend on `front`.

    Stopped along it, the front goes down before what it hands its work to.
    """
    if front not in depends_on:
        return depends_on
    above = {front}
    while more := {name for name, deps in depends_on.items() if above & set(deps)} - above:
        above |= more
    behind = tuple(name for name in depends_on if name not in above)
    return {**depends_on, front: tuple(dict.fromkeys((*depends_on[front], *behind)))}


def dependents(depends_on: Graph) -> Graph:
    """Return, for each name that others depend on directly, those others."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, deps in depends_on.items():
        for dep in deps:
            found[dep].append(name)
    return {name: tuple(sorted(others)) for name, others in found.items()}


def _walk(depends_on: Graph, start: str, finished: set[str]) -> tuple[str, ...] | None:
    # An explicit stack: a chain of dependencies may be longer than Python's recursion limit.
    path = [start]
    pending: list[Iterator[str]] = [iter(depends_on[start])]
    while path:
        following = next(pending[-1], None)
        if following is None:
            finished.add(path.pop())
            pending.pop()
        elif following in path:
            return (*path[path.index(following) :], following)
        elif following in depends_on and following not in finished:
            path.append(following)
            pending.append(iter(depends_on[following]))
    return None
