"""Decides whether and when a replica that exited is started again.

The first restart inside the window is immediate, since most crashes happen once. After that delays
double, and more than `max_restarts` exits inside the window are a crash loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.specs import RestartSpec

# gRPC's connection backoff (grpc/doc/connection-backoff.md) spreads delays by this share, both ways.
JITTER_SHARE: Final = 0.2
# 2.0 ** 1024 overflows; long before that every delay is `backoff_max_s`.
MAX_DOUBLINGS: Final = 64


@dataclass(frozen=True)
class Retry:
    """Start it again at this time."""

    at_s: float


@dataclass(frozen=True)
class GiveUp:
    """Leave it down until somebody asks."""

    reason: str


@dataclass(frozen=True)
class Finished:
    """It ended by itself and in order, and its policy leaves it at that."""


Decision = Retry | GiveUp | Finished


def recent(policy: RestartSpec, exits: tuple[float, ...], *, now_s: float) -> tuple[float, ...]:
    """Return the exits that are still inside the window."""
    return tuple(at_s for at_s in exits if at_s > now_s - policy.window_s)


def decide(
    policy: RestartSpec,
    exits: tuple[float, ...],
    *,
    now_s: float,
    jitter: float = 0.5,
    clean: bool = False,
    permanent: bool = False,
) -> Decision:
    """Decide what follows the last of `exits`.

    Args:
        exits: times of the exits, this one included.
        jitter: 0 to 1; 0.5 leaves the delay as it is.
        clean: it ended by itself, without an error.
        permanent: a restart would end the same way.
    """
    count = len(recent(policy, exits, now_s=now_s))
    if clean and policy.policy != "always":
        return Finished()
    if permanent:
        return GiveUp("a restart would not help")
    if policy.policy == "never":
        return GiveUp("its restart policy is 'never'")
    if count > policy.max_restarts:
        return GiveUp(f"crash loop: {count} exits in {policy.window_s:g} s")
    return Retry(now_s + _delay_s(policy, count) * (1 + JITTER_SHARE * (2 * jitter - 1)))


def _delay_s(policy: RestartSpec, count: int) -> float:
    if count <= 1:
        return 0.0
    doublings = min(count - 2, MAX_DOUBLINGS)
    return min(policy.backoff_s * 2.0**doublings, policy.backoff_max_s)
