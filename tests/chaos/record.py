"""What was done and seen in a run, with times in seconds from its beginning; and which failures count.

Knows nothing of I/O, so that the rule can be tested by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from contracts.specs import GATEWAY
from tests.chaos.schedule import BY_OPERATOR, Fault, Kind

EVERYTHING = frozenset({"*"})
BUS = "(bus)"
# A fault is noted a moment after it happened, and clients hear of it a moment later still.
MARGIN_S = 0.5
CONVERGES_WITHIN_S = 10.0


@dataclass(frozen=True)
class Request:
    """A request, or the life of a stream; `failure` is empty where nothing failed."""

    kind: str
    component: str
    sent_s: float
    ended_s: float
    failure: str = ""
    needs_bus: bool = False


@dataclass
class Injected:
    """A fault that was carried out.

    Attributes:
        touched: the components that it takes down or hangs, `EVERYTHING`, or none; `BUS` for the bus.
        began_s: just before; until it is carried out, when it was due.
        ended_s: when a pause was over, a new control plane answered or an operator's request was done.
        recovered_s: when the state had converged after it.
        note: what happened on the spot.
    """

    fault: Fault
    began_s: float
    touched: frozenset[str] = frozenset()
    ended_s: float = inf
    recovered_s: float = inf
    note: str = ""

    @property
    def touches(self) -> tuple[float, float]:
        """From when to when it may be felt by what it touches."""
        return self.began_s - MARGIN_S, self.recovered_s + MARGIN_S


@dataclass
class Story:
    """What became of a story.

    Attributes:
        asked_s: when the request was sent that was accepted.
        finished_s: when all of it had been read, and was right.
        problem: what its reader complains about.
        ended_s: when its reader was through with it, either way.
    """

    key: str
    seed: int
    location: str = ""
    asked_s: float = inf
    accepted_s: float = inf
    finished_s: float = inf
    problem: str = ""
    ended_s: float = inf


@dataclass
class Run:
    """All of a run."""

    seed: int
    schedule: tuple[Fault, ...]
    requests: list[Request] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    stories: list[Story] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def flushed_s(self) -> float:
        """When the bus had been emptied for the last time; before all times where it never was."""
        return max((one.ended_s for one in self.injected if one.fault.kind is Kind.BUS_FLUSHED), default=-inf)

    def was_emptied(self, story: Story) -> bool:
        """Tell whether the bus was emptied between the request for a story and its end."""
        return any(
            one.fault.kind is Kind.BUS_FLUSHED
            and one.began_s <= story.ended_s
            and story.asked_s <= one.ended_s
            for one in self.injected
        )

    def near(self, from_s: float, until_s: float) -> list[Injected]:
        """Return the faults that can have to do with something that happened between these times."""
        return [one for one in self.injected if one.touches[0] < until_s and from_s < one.touches[1]]


def unexcused(run: Run) -> list[Request]:
    """Return the failed requests that no fault excuses.

    A fault *touches* the components that had a replica in a process which it killed or paused. The anchor's
    death touches every component, for it ends every host. A fault of Valkey touches the bus. Everything
    else touches nothing: the control plane's death or pause, a pause of the anchor, and whatever an
    operator may do on purpose (restart, scale, move).

    A failed request is excused if between its sending and its end some fault *could be felt* that touches
    the component it was for, or the gateway, through which it came, or the bus, where answering needs that.
    A fault can be felt from `MARGIN_S` before it was carried out until `MARGIN_S` after the state has
    converged again, or for ever where it never does (which is a failure of its own: see `slow_recoveries`).
    """
    return [one for one in run.requests if one.failure and not _is_excused(one, run.injected)]


def _is_excused(request: Request, injected: Sequence[Injected]) -> bool:
    needed = {request.component, GATEWAY} | ({BUS} if request.needs_bus else set())
    return any(
        (one.touched == EVERYTHING or needed & one.touched)
        and one.touches[0] <= request.ended_s
        and request.sent_s <= one.touches[1]
        for one in injected
    )


def slow_recoveries(run: Run) -> list[str]:
    """Return each time that the state had not converged 10 s after a fault while nothing else went wrong."""
    told = []
    in_order = sorted(run.injected, key=lambda one: one.began_s)
    for one, following in itertools.zip_longest(in_order, in_order[1:]):
        until_s = min(one.recovered_s, following.began_s if following else inf)
        settled_s = max(
            [one.ended_s, *(other.ended_s for other in run.injected if other.began_s < one.began_s)]
        )
        if until_s - settled_s > CONVERGES_WITHIN_S:
            took = f"after {one.recovered_s - settled_s:.1f} s" if one.recovered_s < inf else "never"
            told.append(f"{one.fault}: converged {took}")
    return told


def recovery_s(run: Run) -> dict[Kind, list[float]]:
    """Return how long it took by kind, of faults that had no other one in their time.

    From the fault to the converged state; for a pause, and the time without control plane, from its end.
    """
    alone: dict[Kind, list[float]] = {}
    for one in run.injected:
        others = [each for each in run.near(one.began_s, one.recovered_s) if each is not one]
        if not others and one.recovered_s < inf:
            began_s = one.began_s if one.fault.kind in BY_OPERATOR or not one.fault.lasts_s else one.ended_s
            alone.setdefault(one.fault.kind, []).append(one.recovered_s - began_s)
    return alone
