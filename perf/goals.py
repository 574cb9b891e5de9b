"""What is to be reached: each goal is a ratio of two systems in one run, or a bound of one figure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from perf.peers.supervisors import BY_HAND, PEERS
from perf.record import Record

BEST_PEER = "best peer"
RIVALS = (BY_HAND.name, *(peer.name for peer in PEERS))


@dataclass(frozen=True)
class Goal:
    """One figure to reach: `measurement` of `system`, over that of `of` where it is given."""

    what: str
    measurement: str
    system: str
    bound: float
    of: str = ""
    at_least: bool = False
    of_measurement: str = ""

    @property
    def name(self) -> str:
        """Return what it is called, in the report and among the baselines."""
        compared = " ".join(filter(None, (self.of, self.of_measurement)))
        return f"{self.what}, of {compared}" if self.is_ratio else self.what

    @property
    def is_ratio(self) -> bool:
        """Tell whether two systems are compared, so that the machine's own speed falls out."""
        return bool(self.of)

    def reached(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound

    def worse_by(self, value: float, baseline: float) -> float:
        """Return how much worse a value is than the baseline's, as a share of it."""
        return (baseline / value if self.at_least else value / baseline) - 1


@dataclass(frozen=True)
class Outcome:
    """What came of a goal: the median, the lowest and the highest of single rounds."""

    goal: Goal
    value: float
    lowest: float
    highest: float

    @property
    def noise(self) -> float:
        """Return how far the rounds lie apart, as a share of the value."""
        return (self.highest - self.lowest) / self.value if self.value else 0.0


GOALS = (
    Goal("cold start, multi", "start_s", "multi", 1.6, of="floor"),
    Goal("cold start, multi", "start_s", "multi", 0.25, of=BEST_PEER),
    Goal("cold start, single", "start_s", "single", 1.25, of="floor"),
    Goal("memory, multi", "memory_mb", "multi", 0.45, of=BEST_PEER),
    Goal("memory, single", "memory_mb", "single", 1.25, of="floor"),
    Goal("memory, single", "memory_mb", "single", 0.4, of="multi"),
    Goal("idle CPU, single", "idle_cpu_percent", "single", 0.7, of="multi"),
    Goal("idle CPU, single, % of a core", "idle_cpu_percent", "single", 0.5),
    Goal("idle CPU, multi, % of a core", "idle_cpu_percent", "multi", 2.0),
    Goal("one more replica, ms", "replica_ready_ms", "multi", 150.0),
    Goal("requests/s, component in the gateway's process", "local_rps", "coplane", 0.9, "fastapi", True),
    Goal("requests/s, component in another process", "remote_rps", "coplane", 0.9, "nginx", True),
    Goal("p99 of such a request", "remote_p99_ms", "coplane", 1.5, of="nginx"),
    Goal("memory broker, p50 to the handler", "memory_p50_us", "coplane", 1.5, of="faststream"),
    Goal("memory broker, messages/s", "memory_per_s", "coplane", 3.0, "coplane", True, "redis_per_s"),
    Goal("Redis, messages/s", "redis_per_s", "coplane", 1.0, "faststream", True),
    Goal("Redis, p50 to the handler", "redis_p50_us", "coplane", 2.0, of="redis-py"),
    Goal("ctl status", "command_ms", "ctl status", 5.0, of="python -c pass"),
    Goal("ctl status, ms", "command_ms", "ctl status", 100.0),
    Goal("ctl --help", "command_ms", "ctl --help", 5.0, of="python -c pass"),
    Goal("ctl --help, ms", "command_ms", "ctl --help", 100.0),
    Goal("control plane of 10,000 components, % of a core", "control_cpu_percent", "10000", 30.0),
    Goal("cost of a heartbeat, 10,000 components", "event_us", "10000", 1.25, of="100"),
    Goal("10,000 components known again, intervals", "rebuild_intervals", "10000", 2.0),
    Goal("health, p99 idle, ms", "health_p99_ms", "idle", 5.0),
    Goal("health, p99 with every core loaded, ms", "health_p99_ms", "loaded", 200.0),
)


def outcomes(record: Record) -> Iterator[Outcome]:
    """Yield what came of each goal that was measured."""
    for goal in GOALS:
        ours = record.samples.get(goal.measurement, {}).get(goal.system)
        theirs = _compared(record, goal)
        if not ours or not theirs:
            continue
        # Not the ratio of two medians, which may be of rounds that the machine ran at different speeds.
        rounds = [one / other for one, other in zip(ours, theirs, strict=False)]
        yield Outcome(goal, statistics.median(rounds), min(rounds), max(rounds))


def _compared(record: Record, goal: Goal) -> list[float]:
    """Return the samples that a goal's are divided by; of the best peer, those with the lowest median."""
    systems = record.samples.get(goal.of_measurement or goal.measurement, {})
    if not goal.is_ratio:
        return [1.0] * len(systems.get(goal.system, ()))
    if goal.of != BEST_PEER:
        return systems.get(goal.of, [])
    rivals = [systems[name] for name in RIVALS if name in systems]
    return min(rivals, key=statistics.median, default=[])
