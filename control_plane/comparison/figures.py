"""What the trials of each way come to, and which way they speak for. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from control_plane.comparison.trial import Trial

# A way that is smaller but answers more slowly than this many times the fastest is not recommended.
SLOWER_AT_MOST = 2.0


@dataclass(frozen=True)
class Figures:
    """Medians over the trials of one way that were launches; None where nothing was measured."""

    way: str
    launches: int
    failed_launches: int
    start_s: float | None
    memory_mb: float | None
    cpu_percent: float | None
    p50_ms: float | None
    p99_ms: float | None
    failed_requests: int
    error: str


@dataclass(frozen=True)
class Comparison:
    """The figures of every way; `recommended` is the way they speak for, empty where none does."""

    figures: tuple[Figures, ...]
    recommended: str
    why: str


def compared(trials: Sequence[Trial]) -> Comparison:
    """Return what the trials come to.

    Recommended is what needs the least memory of all that never failed and answer in at most twice the time
    of the fastest.
    """
    ways = list(dict.fromkeys(trial.way for trial in trials))
    figures = tuple(_figures(way, [trial for trial in trials if trial.way == way]) for way in ways)
    sound = [each for each in figures if not each.failed_launches and not each.failed_requests]
    fast = [each for each in sound if _is_fast(each, sound)]
    sized = [each for each in fast if each.memory_mb is not None]
    if not sized:
        return Comparison(figures, "", "no way came about without a failure")
    best = min(sized, key=lambda each: each.memory_mb or 0.0)
    beats = [_beats(best, other) for other in sized if other is not best]
    beats += [f"{slow.way} is too slow ({slow.p50_ms:.1f} ms)" for slow in sound if slow not in fast]
    beats += [f"{bad.way} failed" for bad in figures if bad not in sound]
    return Comparison(figures, best.way, "; ".join(beats) or "nothing else was tried")


def _figures(way: str, trials: Sequence[Trial]) -> Figures:
    launched = [trial for trial in trials if not trial.error]
    latencies = [latency for trial in launched for latency in trial.latencies_ms]
    return Figures(
        way=way,
        launches=len(trials),
        failed_launches=len(trials) - len(launched),
        start_s=_median([trial.start_s for trial in launched]),
        memory_mb=_median([trial.memory_mb for trial in launched]),
        cpu_percent=_median([trial.cpu_percent for trial in launched]),
        p50_ms=_median(latencies),
        p99_ms=sorted(latencies)[int(len(latencies) * 0.99)] if latencies else None,
        failed_requests=sum(trial.failed for trial in launched),
        error=next((trial.error for trial in trials if trial.error), ""),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _is_fast(figures: Figures, sound: Sequence[Figures]) -> bool:
    known = [each.p50_ms for each in sound if each.p50_ms is not None]
    return figures.p50_ms is None or figures.p50_ms <= SLOWER_AT_MOST * min(known)


def _beats(best: Figures, other: Figures) -> str:
    assert best.memory_mb is not None
    assert other.memory_mb is not None
    less = (1 - best.memory_mb / other.memory_mb) * 100 if other.memory_mb else 0.0
    said = f"{less:.0f} % less memory than {other.way} ({best.memory_mb:.0f} MB to {other.memory_mb:.0f} MB)"
    if best.start_s is not None and other.start_s is not None:
        said += f", ready after {best.start_s:.1f} s to {other.start_s:.1f} s"
    if best.p50_ms is not None and other.p50_ms is not None:
        said += f", answers in {best.p50_ms:.1f} ms to {other.p50_ms:.1f} ms"
    return said
