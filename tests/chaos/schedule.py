"""What goes wrong, and when: a pure function of the seed.

Knows no process and no clock. Two runs with one seed get the same faults at the same times; what the
faults meet then is the machine's affair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from contracts.specs import GATEWAY

ISOLATED = "isolated"
FIRST_FAULT_S = 3.0
MEAN_GAP_S = 4.0
SHORTEST_GAP_S = 0.3
LONGEST_GAP_S = 25.0
LONGEST_PAUSE_S = 8.0  # past three heartbeats: a host is taken for hung then, and replaced
LONGEST_ABSENCE_S = 4.0
MOST_REPLICAS = 3
# More than five deaths of the anchor in a minute end a launch, and rightly so.
BETWEEN_ANCHOR_DEATHS_S = 15.0


class Kind(StrEnum):
    """What is done to the backend."""

    HOST_KILLED = "host killed"
    HOST_PAUSED = "host paused"
    ANCHOR_KILLED = "anchor killed"
    ANCHOR_PAUSED = "anchor paused"
    CONTROL_PLANE_KILLED = "control plane killed"
    CONTROL_PLANE_PAUSED = "control plane paused"
    BUS_KILLED = "bus killed"
    BUS_PAUSED = "bus paused"
    BUS_FLUSHED = "bus flushed"
    RESTARTED = "component restarted"
    SCALED = "component scaled"
    MOVED = "component moved"


WEIGHTS: Mapping[Kind, int] = {
    Kind.HOST_KILLED: 6,
    Kind.HOST_PAUSED: 3,
    Kind.ANCHOR_KILLED: 1,
    Kind.ANCHOR_PAUSED: 1,
    Kind.CONTROL_PLANE_KILLED: 2,
    Kind.CONTROL_PLANE_PAUSED: 2,
    Kind.BUS_KILLED: 1,
    Kind.BUS_PAUSED: 2,
    Kind.BUS_FLUSHED: 1,
    Kind.RESTARTED: 3,
    Kind.SCALED: 3,
    Kind.MOVED: 2,
}
OF_COMPONENTS = {Kind.HOST_KILLED, Kind.HOST_PAUSED, Kind.RESTARTED, Kind.SCALED, Kind.MOVED}
PAUSES = {Kind.HOST_PAUSED, Kind.ANCHOR_PAUSED, Kind.CONTROL_PLANE_PAUSED, Kind.BUS_PAUSED}
# What an operator does on purpose: no client may notice.
BY_OPERATOR = {Kind.RESTARTED, Kind.SCALED, Kind.MOVED}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        at_s: when, from the beginning of the run.
        component: whose; of its replicas, `chance` chooses one.
        lasts_s: how long a pause is, or how long nobody is in control.
        replicas: scale to so many.
        place: move to there.
        chance: in [0, 1), for what can only be chosen on the spot.
    """

    number: int
    at_s: float
    kind: Kind
    component: str = ""
    lasts_s: float = 0.0
    replicas: int = 0
    place: str = ""
    chance: float = 0.0

    def __str__(self) -> str:
        what = " ".join(
            part
            for part in (
                self.kind,
                self.component,
                f"for {self.lasts_s:.1f} s" if self.lasts_s else "",
                f"to {self.replicas} replicas" if self.replicas else "",
                f"to {self.place}" if self.place else "",
            )
            if part
        )
        return f"#{self.number} at {self.at_s:.1f} s: {what}"


def make_schedule(
    seed: int,
    *,
    components: Sequence[str],
    places: Sequence[str],
    duration_s: float | None = None,
    count: int | None = None,
    kinds: Sequence[Kind] = tuple(Kind),
) -> tuple[Fault, ...]:
    """Return the faults of a run that ends after `duration_s`, or after `count` of them."""
    dice, faults, at_s, anchor_lives_until_s = Random(seed), list[Fault](), FIRST_FAULT_S, 0.0
    while (count is None or len(faults) < count) and (duration_s is None or at_s < duration_s):
        kind = _kind(dice, [k for k in kinds if k is not Kind.ANCHOR_KILLED or at_s >= anchor_lives_until_s])
        if kind is Kind.ANCHOR_KILLED:
            anchor_lives_until_s = at_s + BETWEEN_ANCHOR_DEATHS_S
        faults.append(_fault(dice, len(faults) + 1, at_s, kind, components, places))
        at_s = round(at_s + _gap_s(dice), 3)
    return tuple(faults)


def _kind(dice: Random, kinds: Sequence[Kind]) -> Kind:
    return dice.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]


def _gap_s(dice: Random) -> float:
    """Return the time to the next fault: many come close together, some when all is well again."""
    return min(LONGEST_GAP_S, SHORTEST_GAP_S + dice.expovariate(1 / (MEAN_GAP_S - SHORTEST_GAP_S)))


def _fault(
    dice: Random, number: int, at_s: float, kind: Kind, components: Sequence[str], places: Sequence[str]
) -> Fault:
    component = dice.choice(components) if kind in OF_COMPONENTS else ""
    # A process is given the public socket when it is made: the gateway joins no group.
    there = (ISOLATED,) if component == GATEWAY else (ISOLATED, *places)
    return Fault(
        number,
        at_s,
        kind,
        component=component,
        lasts_s=_lasts_s(dice, kind),
        replicas=dice.randint(1, MOST_REPLICAS) if kind is Kind.SCALED else 0,
        place=dice.choice(there) if kind is Kind.MOVED else "",
        chance=dice.random(),
    )


def _lasts_s(dice: Random, kind: Kind) -> float:
    if kind in PAUSES:
        return round(dice.uniform(0.2, LONGEST_PAUSE_S), 1)
    if kind is Kind.CONTROL_PLANE_KILLED:
        return round(dice.uniform(0, LONGEST_ABSENCE_S), 1)
    return 0.0
