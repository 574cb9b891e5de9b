"""Tells of a blocked event loop: a log line of the replica, and `loop.blocked` with what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from contextvars import copy_context

from contracts.messages import LoopBlocked
from contracts.specs import HostSpec, Mode, ReplicaSpec
from control_plane.runtime import clock
from control_plane.runtime.culprits import Culprits
from control_plane.runtime.host_logging import current_replica
from control_plane.runtime.watchdog import COMPUTING_SHARE, Block, Watchdog

log = logging.getLogger("coplane.watchdog")

SAME_LINE_PAUSE_S = 10.0
LINES_REMEMBERED = 100


class LoopBlocks:
    """Reports blocks of one host's loop; the same line at most once in `SAME_LINE_PAUSE_S`, with a count."""

    def __init__(
        self,
        spec: HostSpec,
        *,
        replicas: Callable[[], Collection[ReplicaSpec]],
        announce: Callable[[LoopBlocked], None],
    ) -> None:
        self._spec = spec
        self._replicas = replicas
        self._announce = announce
        self._told_s: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def blocked(self, block: Block) -> None:
        """Announce a block that is over, and log it; called in the loop."""
        line, now_s = block.place.culprit, clock.now_s()
        count = self._untold.get(line, 0) + 1
        if now_s - self._told_s.get(line, -SAME_LINE_PAUSE_S) < SAME_LINE_PAUSE_S:
            self._untold[line] = count
            return
        while len(self._told_s) >= LINES_REMEMBERED:
            oldest = next(iter(self._told_s))
            del self._told_s[oldest]
            self._untold.pop(oldest, None)
        self._told_s.pop(line, None)  # to the end: the oldest is first
        self._told_s[line], self._untold[line] = now_s, 0
        message = self._message(block, count)
        self._announce(message)
        _log("loop.blocked", message)  # without the stack, which the event has

    def still_blocked(self, block: Block) -> None:
        """Log a block that goes on, at once: its host may be killed before the loop turns again."""
        message = self._message(block, 1)
        _log("loop.still_blocked", message, stack=message.stack)

    def _message(self, block: Block, count: int) -> LoopBlocked:
        place = block.place
        return LoopBlocked(
            component=place.component,
            replica=place.replica,
            host=self._spec.id,
            duration_ms=round(block.duration_s * 1000),
            cpu_ms=round(block.cpu_s * 1000),
            culprit=place.culprit,
            stack=place.stack,
            hint=self._hint(block),
            count=count,
        )

    def _hint(self, block: Block) -> str:
        computes = block.cpu_s >= block.duration_s * COMPUTING_SHARE
        advice = f"move it off the loop with context.{'run_in_process' if computes else 'run_in_thread'}"
        component = block.place.component
        if not component or len(self._replicas()) < 2:
            return advice  # nothing shares the loop that could be kept from harm
        if self._spec.mode is Mode.SINGLE:
            return f"{advice}, or isolate it: ctl launch --mode multi, or hybrid"
        return f"{advice}, or isolate it: ctl move {component} --to isolated"


def _log(event: str, message: LoopBlocked, **more: str) -> None:
    fields = message.model_dump(include={"host", "duration_ms", "cpu_ms", "culprit", "count", "hint"})
    # In a context of its own, so that the line is the replica's, and nothing after it.
    context = copy_context()
    context.run(current_replica.set, message.replica)
    context.run(log.warning, event, extra={**fields, **more})


def watch_loop(
    spec: HostSpec,
    *,
    replicas: Callable[[], Collection[ReplicaSpec]],
    announce: Callable[[LoopBlocked], None],
) -> Watchdog:
    """Make the watchdog of a host; `replicas` is also called in the watchdog's thread."""
    blocks = LoopBlocks(spec, replicas=replicas, announce=announce)
    culprits = Culprits(replicas, project=spec.project)
    return Watchdog(culprits, blocked=blocks.blocked, still_blocked=blocks.still_blocked)
