"""Finds what blocks an event loop: a thread that looks at the loop's thread, and samples its stack.

The loop is not instrumented. At each tick the thread looks whether a callback or a task step is running.
If one is, it sends a probe through the loop, and samples the stack until the probe is answered or another
callback runs. What kept the loop from turning for `BLOCK_THRESHOLD_S` is told, with the line at which
the samples saw it longest.

What is found, with `tick_s` = `IDLE_TICK_S`, or `BUSY_TICK_S` while the loop uses more than `BUSY_SHARE`
of a core:

- For certain: one callback or task step that blocks for `BLOCK_THRESHOLD_S + tick_s` or more (0.5 s on an
  idle loop, 0.35 s on a busy one). It may wait (`time.sleep`, a synchronous driver) or compute, in Python or
  in C, with or without the interpreter lock: while C code holds the lock this thread cannot run, notices
  that it was late while the loop's thread used the processor, and sees the line when the lock is let go.
- By chance: one that blocks between `BLOCK_THRESHOLD_S` and that. Its duration is counted from the tick
  that saw it, so that what is told is at least so long, and at most a tick longer.
- Not: C code that waits with the interpreter lock held, or another thread that holds it (this thread
  cannot tell either from a process that was paused); a C function that is itself the callback
  (`loop.call_soon(time.sleep, 1)`): it has no Python frame. If that one computes with the lock held, the
  callback after it may be blamed.
- On purpose not: many short callbacks one after the other, and the time for which the whole process was
  paused or had no processor.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from control_plane.runtime import clock
from control_plane.runtime.culprits import Culprits, Place
from control_plane.runtime.loop_thread import LoopThread

log = logging.getLogger("coplane.watchdog")

BLOCK_THRESHOLD_S = 0.25
LONG_BLOCK_S = 2.0
IDLE_TICK_S = 0.25
BUSY_TICK_S = 0.1
SAMPLE_TICK_S = 0.05
BUSY_SHARE = 0.05
LATE_S = 0.1
COMPUTING_SHARE = 0.1  # who waits uses next to nothing; who computes may get little on a full machine
THREAD_NAME = "coplane-watchdog"


@dataclass(frozen=True)
class Block:
    """The loop did not turn for so long; `cpu_s` of that its thread was computing, else waiting."""

    place: Place
    duration_s: float
    cpu_s: float


class _Look:
    """One look at the loop's thread: when, and what became of it since the last one."""

    def __init__(self, due_s: float, now_s: float, cpu_s: float, *, last: _Look | None) -> None:
        self.due_s, self.now_s, self.cpu_s = due_s, now_s, cpu_s
        self.late_s = now_s - due_s
        if last is None:
            self.worked_s = self.share = 0.0
        else:
            self.worked_s = cpu_s - last.cpu_s
            self.share = self.worked_s / max(now_s - last.now_s, 1e-6)
        # We could not run for long, and the loop's thread did: it held the interpreter lock.
        computed = self.worked_s > max(LATE_S, self.late_s * COMPUTING_SHARE)
        self.held_the_lock = self.late_s > LATE_S and computed


@dataclass
class _Watch:
    """One callback that was seen, until it ends."""

    began_s: float
    began_cpu_s: float
    seen_s: float
    # Its outermost frame tells it from the next one. The loop's thread lets go of it: locals die with it.
    held: list[FrameType]
    lines: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    places: dict[str, Place] = field(default_factory=dict)
    answered_s: float | None = None
    long_told: bool = False

    def answer(self) -> None:
        """Be the probe: the loop turns again, and calls this."""
        self.answered_s = clock.now_s()
        self.held.clear()


class Watchdog:
    """Watches the loop it is started in until it is stopped; tells of blocks.

    `blocked` is called in the loop once it turns again, `still_blocked` in the watchdog's thread, once
    for a block that has lasted `LONG_BLOCK_S`.
    """

    def __init__(
        self,
        culprits: Culprits,
        *,
        blocked: Callable[[Block], None],
        still_blocked: Callable[[Block], None],
    ) -> None:
        self._culprits = culprits
        self._blocked = blocked
        self._still_blocked = still_blocked
        self._watched: LoopThread | None = None
        self._watch: _Watch | None = None
        self._tick_s = IDLE_TICK_S
        self._idle = False

    def start(self) -> None:
        """Watch the running loop."""
        self._watched = LoopThread()
        now_s = clock.now_s()
        self._last = _Look(now_s, now_s, self._watched.cpu_s(), last=None)
        # Not joined: it sleeps most of the time, and ends at its next tick.
        threading.Thread(target=self._run, args=(self._watched,), name=THREAD_NAME, daemon=True).start()

    def stop(self) -> None:
        """Stop watching; what blocked the loop until now is told."""
        watched, self._watched = self._watched, None
        watch, self._watch = self._watch, None
        if watched is not None and watch is not None:
            self._conclude(watched, watch, watch.answered_s or clock.now_s())

    def _run(self, watched: LoopThread) -> None:
        while self._watched is watched and not watched.loop.is_closed():
            due_s = _next_tick_s(clock.now_s(), self._tick_s)
            # Not a lock with a timeout, which would let us be woken: it costs a quarter more at every tick.
            time.sleep(max(0.0, due_s - clock.now_s()))
            if self._watched is not watched:
                return
            try:
                cpu_s = watched.cpu_s()
                if self._idle and cpu_s == self._last.cpu_s:
                    self._last.now_s = due_s  # it has not run since, so it is idle still
                    continue
                self._look(watched, _Look(due_s, clock.now_s(), cpu_s, last=self._last))
            except (RuntimeError, OSError):
                return  # the loop was closed just now, or its thread has ended, and nobody stopped us
            except Exception:
                # The supervision boundary of this thread: the host goes on, unwatched.
                log.exception("watchdog.crashed")
                return

    def _look(self, watched: LoopThread, look: _Look) -> None:
        self._last = look
        self._tick_s = BUSY_TICK_S if look.share > BUSY_SHARE else IDLE_TICK_S
        frames = watched.callback()
        self._idle = not frames
        began_s = look.due_s if look.held_the_lock else look.now_s
        if self._watch is not None:
            ended_s = self._follow(watched, self._watch, frames, look)
            if ended_s is None:
                return
            began_s = max(began_s, ended_s)
        if frames:
            self._begin(watched, frames, began_s)

    def _begin(self, watched: LoopThread, frames: list[FrameType], began_s: float) -> None:
        cpu_s = self._last.cpu_s - (self._last.now_s - began_s)  # what it held the lock for, it computed
        self._watch = watch = _Watch(began_s, cpu_s, began_s, [frames[-1]])
        self._sample(watch, frames)
        watched.loop.call_soon_threadsafe(watch.answer)

    def _follow(
        self, watched: LoopThread, watch: _Watch, frames: list[FrameType], look: _Look
    ) -> float | None:
        """Return when the watched callback ended, or None where it runs."""
        if look.late_s > LATE_S and not look.held_the_lock:
            watch.began_s += look.late_s  # the process was paused, or had no processor
        if watch.answered_s is None and frames and frames[-1] in watch.held:
            self._sample(watch, frames)
            self._tell_if_long(watch)
            return None
        self._watch = None
        ended_s = watch.answered_s or watch.seen_s
        self._conclude(watched, watch, ended_s)
        return ended_s

    def _sample(self, watch: _Watch, frames: list[FrameType]) -> None:
        line = self._culprits.line(frames)
        if line not in watch.places:
            watch.places[line] = self._culprits.place(frames)
        # By time, not by number: C code that holds the lock is seen once, however long it takes.
        watch.lines[line] += self._last.now_s - watch.seen_s
        watch.seen_s = self._last.now_s
        self._tick_s = SAMPLE_TICK_S

    def _tell_if_long(self, watch: _Watch) -> None:
        if watch.seen_s - watch.began_s >= LONG_BLOCK_S and not watch.long_told:
            watch.long_told = True
            self._still_blocked(_block(watch, ended_s=watch.seen_s, cpu_s=self._last.cpu_s))

    def _conclude(self, watched: LoopThread, watch: _Watch, ended_s: float) -> None:
        if ended_s - watch.began_s >= BLOCK_THRESHOLD_S:
            block = _block(watch, ended_s=ended_s, cpu_s=watched.cpu_s())
            watched.loop.call_soon_threadsafe(self._blocked, block)


def _block(watch: _Watch, *, ended_s: float, cpu_s: float) -> Block:
    line = max(watch.lines, key=watch.lines.__getitem__)
    duration_s = ended_s - watch.began_s
    return Block(watch.places[line], duration_s, min(duration_s, cpu_s - watch.began_cpu_s))


def _next_tick_s(now_s: float, tick_s: float) -> float:
    """Return the next odd multiple of half a tick.

    The monotonic clock is the same for every process of a machine, so their watchdogs wake in one moment,
    and between the moments in which hosts send heartbeats, which are multiples of whole ticks.
    """
    half_s = tick_s / 2
    return now_s + tick_s - (now_s + half_s) % tick_s
