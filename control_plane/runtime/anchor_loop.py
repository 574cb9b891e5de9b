"""The anchor's loop: starts hosts, reaps them, keeps Valkey running, and ends in good order.

Single-threaded, with one selector and no event loop. It decides nothing about components: it starts
what it is told to, and tells of what ended. It waits for events and for deadlines, never for ticks.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
from enum import StrEnum
from typing import Any, assert_never

from contracts.errors import ControlError, LaunchError
from contracts.specs import HostSpec
from control_plane.runtime import children, clock
from control_plane.runtime.anchor_door import Door
from control_plane.runtime.anchor_protocol import (
    AnchorOptions,
    Answer,
    BusGone,
    BusStarted,
    Done,
    Hello,
    HostDelayed,
    HostGone,
    Refused,
    Remember,
    Request,
    RestartBus,
    RunningHost,
    Shutdown,
    SignalHost,
    Spawn,
    Spawned,
    Stopping,
    Welcome,
)
from control_plane.runtime.images.interpreters import Interpreters
from control_plane.runtime.images.nursery import Nursery
from control_plane.runtime.images.process import ImageProcess
from control_plane.runtime.paths import RuntimeDir
from control_plane.runtime.ports import url_of
from control_plane.runtime.valkey import EmbeddedValkey

log = logging.getLogger("coplane.anchor")

SWEEP_TIMEOUT_S = 5.0
# Looking for orphans reads all of /proc, and a host that ended is to be replaced first.
SWEEP_DELAY_S = 0.1


class Phase(StrEnum):
    """What the anchor is about; it only ever moves down this list."""

    SERVING = "serving"
    DRAINING = "draining"
    STOPPING_BUS = "stopping_bus"
    SWEEPING = "sweeping"
    ENDED = "ended"


class Anchor:
    """Holds the hosts, the public socket and Valkey, whoever is in control."""

    def __init__(
        self,
        options: AnchorOptions,
        runtime: RuntimeDir,
        *,
        listener: socket.socket,
        forks: bool,
        bus: EmbeddedValkey | None,
    ) -> None:
        self._options = options
        self._runtime = runtime
        self._bus = bus
        self._entry = children.HostEntry.parse(options.host_entry)
        self._public = [socket.socket(fileno=fd) for fd in options.public_fds]
        self._hosts: dict[str, RunningHost] = {}
        self._memory: dict[str, Any] = {}
        # Spawns that are not answered yet, by host.
        self._asked: dict[str, int] = {}
        # Who ended while an image may have made hosts that it has not told of.
        self._unclaimed: dict[int, children.Ended] = {}
        self._sweep_at_s: float | None = None
        # Hosts hold the reading end only, so that its end of file means that we are gone.
        self._lifeline, self._life = os.pipe()
        self._phase = Phase.SERVING
        self._phase_ends_s: float | None = None
        self._wakeup, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._door = Door(listener, self._selector, self)
        # In any case: a nursery forks its first image as it is made, and that calls `_release`.
        self._nursery: Nursery | Interpreters = Interpreters(self, self._entry)
        if forks:
            self._nursery = Nursery(self, self._selector, options.preload)

    # Life.

    def run(self) -> None:
        """Serve until told to stop, or until nobody has been in control for the grace period."""
        self._catch_signals()
        self._door.open()
        while self._phase is not Phase.ENDED:
            # Before the wait: children may have ended before their signal was caught.
            for ended in children.reap():
                self._ended(ended)
            self._advance(clock.now_s())
            for key, events in self._selector.select(self._patience_s()):
                key.data(events)
        self._leave()

    def _catch_signals(self) -> None:
        for end in (self._wakeup, self._waker):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._signalled)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in children.CAUGHT:
            signal.signal(number, lambda _number, _frame: None)

    def _signalled(self, _events: int) -> None:
        if signal.SIGTERM in self._wakeup.recv(4096):
            self._door.tell(Stopping(reason="SIGTERM"))
            self._stop("SIGTERM")

    def _leave(self) -> None:
        # The socket last: as long as it answers, no other launch uses the folder.
        self._door.close()
        # A control plane that lives holds the lock, and cleans up itself.
        with contextlib.suppress(LaunchError), self._runtime.acquire_lock():
            self._runtime.remove_ephemeral()
        log.info("anchor.ended")

    def _release(self) -> None:
        """Close in a forked image what is the anchor's, but for what hosts are given."""
        self._door.release()
        self._nursery.release()
        self._selector.close()
        self._wakeup.close()
        self._waker.close()
        os.close(self._life)

    # Deadlines and phases.

    def _patience_s(self) -> float | None:
        if self._phase is Phase.ENDED:
            return 0.0
        bus_s = self._bus.wake_at_s if self._bus else None
        all_s = (
            self._desertion_ends_s(),
            self._phase_ends_s,
            self._sweep_at_s,
            bus_s,
            self._nursery.wake_at_s,
        )
        due = [at_s for at_s in all_s if at_s is not None]
        return max(0.0, min(due) - clock.now_s()) if due else None

    def _desertion_ends_s(self) -> float | None:
        since_s = self._door.deserted_at_s
        if since_s is None or self._phase is not Phase.SERVING:
            return None
        return since_s + self._options.orphan_grace_s

    def _advance(self, now_s: float) -> None:
        """Do what is due, and enter the next phase where this one is over."""
        if self._bus and (pid := self._bus.act(now_s)) is not None:
            self._door.tell(BusStarted(pid=pid))
        self._nursery.act(now_s)
        if _due(self._sweep_at_s, now_s):
            self._sweep_at_s = None
            self._kill_orphans()
        if _due(self._desertion_ends_s(), now_s):
            self._stop("no control plane came back")
        if self._phase is Phase.DRAINING:
            self._drain(now_s)
        if self._phase is Phase.STOPPING_BUS and self._bus is None:
            self._enter(Phase.SWEEPING, ends_s=now_s + SWEEP_TIMEOUT_S)
        if self._phase is Phase.SWEEPING and (
            not children.kill_descendants() or _due(self._phase_ends_s, now_s)
        ):
            self._enter(Phase.ENDED)

    def _enter(self, phase: Phase, *, ends_s: float | None = None) -> None:
        self._phase, self._phase_ends_s = phase, ends_s
        log.info("anchor.phase", extra={"phase": phase})

    def _stop(self, reason: str) -> None:
        if self._phase is Phase.SERVING:
            log.info("anchor.stopping", extra={"reason": reason})
            self._nursery.close()
            for host in self._hosts.values():
                os.kill(host.pid, signal.SIGTERM)
            self._enter(Phase.DRAINING, ends_s=clock.now_s() + self._options.stop_timeout_s)

    def _drain(self, now_s: float) -> None:
        if not self._hosts:
            self._enter(Phase.STOPPING_BUS)
            if self._bus:
                self._bus.stop(now_s)
                self._bus = self._bus if self._bus.pid else None
        elif _due(self._phase_ends_s, now_s):
            self._phase_ends_s = None
            for host in self._hosts.values():
                children.kill_group(host.pid)

    # What the control plane asks for.

    def welcome(self, hello: Hello) -> Welcome:
        """Say what there is to take over.

        Raises:
            LaunchError: the anchor is stopping (E2006).
        """
        if self._phase is not Phase.SERVING:
            raise LaunchError(
                "the launch before this one is still stopping", fix="try again in a few seconds", code="E2006"
            )
        self._nursery.give_up_all()  # whoever takes over asks for what he wants himself
        self._asked.clear()
        return Welcome(
            re=hello.id,
            anchor_pid=os.getpid(),
            app=self._options.app,
            hosts=tuple(self._hosts.values()),
            bus_pid=self._bus.pid if self._bus else None,
            bus_url=self._bus.url if self._bus else "",
            public_fds=self._options.public_fds,
            public_urls=tuple(map(url_of, self._public)),
            memory=self._memory,
        )

    def obey(self, request: Request) -> Answer | None:
        """Carry out a request; None where it is answered later.

        Raises:
            CoplaneError: it cannot be done.
        """
        match request:
            case Spawn():
                self._spawn(request)
                return None
            case SignalHost():
                return Done(re=request.id, in_time=self._signal(request))
            case RestartBus():
                self._restart_bus()
            case Remember():
                self._memory = request.memory
            case Shutdown():
                self._stop("told to")
            case Hello():
                return self.welcome(request)
            case _:
                assert_never(request)
        return Done(re=request.id)

    def _spawn(self, request: Spawn) -> None:
        spec = request.spec
        if self._phase is not Phase.SERVING:
            raise ControlError("the anchor is stopping and starts no host any more", code="E3007")
        if spec.id in self._hosts or self._nursery.awaits(spec.id):
            raise LaunchError(f"host '{spec.id}' is running already", code="E2009")
        self._asked[spec.id] = request.id
        self._nursery.bear(spec.model_copy(update={"lifeline_fd": self._lifeline}))

    def _take(self, given: HostSpec, pid: int) -> None:
        spec = given.model_copy(update={"lifeline_fd": None})
        self._hosts[spec.id] = RunningHost(spec=spec, pid=pid)
        log.info("host.spawned", extra={"host": spec.id, "host_pid": pid})

    # What the nursery asks for and tells.

    def fork_image(self, peer: socket.socket, ours: socket.socket) -> int:
        """Fork a process that lives as an image on this connection, and return its id."""

        def run() -> int:
            self._release()
            ours.close()
            return ImageProcess(
                peer,
                project=self._runtime.project,
                entry=self._entry,
                release=self._release_public_for,
            ).run()

        return children.fork_companion(run, name="ctl-image")

    def _release_public_for(self, spec: HostSpec) -> None:
        for public in self._public:
            if spec.public_fds:
                public.detach()
            else:
                public.close()

    def born(self, spec: HostSpec, pid: int, *, doomed: bool) -> None:
        """Take a host that has a process now, which may have ended already."""
        self._take(spec, pid)
        if (number := self._asked.pop(spec.id, None)) is not None:
            self._door.answer(Spawned(re=number, pid=pid))
        if ended := self._unclaimed.pop(pid, None):
            self._ended(ended)
        elif doomed:
            children.kill_group(pid)

    def stillborn(self, spec: HostSpec, why: str) -> None:
        """Refuse what had asked for a host that has no process."""
        if (number := self._asked.pop(spec.id, None)) is not None:
            self._door.answer(Refused(re=number, error=_not_made(spec.id, why).as_dict()))
        self._sweep_in(0.0)

    def delayed(self, spec: HostSpec, why: str) -> None:
        """Tell what a host waits for."""
        self._door.tell(HostDelayed(host=spec.id, why=why))

    # Signals.

    def _signal(self, order: SignalHost) -> bool:
        """Signal a host, if it has not ended; its children are its own to stop, but for SIGKILL.

        Returns:
            Whether the order was still valid.
        """
        if _due(order.not_after_s, clock.now_s()):
            log.warning("order.expired", extra={"host": order.host, "signal": order.signum})
            return False
        host = self._hosts.get(order.host)
        if host is None:
            if self._nursery.awaits(order.host):
                self._nursery.give_up(order.host)
            return True
        if order.signum == signal.SIGKILL:
            children.kill_group(host.pid)
        else:
            os.kill(host.pid, order.signum)
        return True

    def _restart_bus(self) -> None:
        if self._bus is None:
            raise ControlError("this backend's bus is not ours to restart", why="[bus] url names it")
        self._bus.stop(clock.now_s())

    # What ended.

    def _ended(self, ended: children.Ended) -> None:
        if self._bus and ended.pid == self._bus.pid:
            self._bus_ended(self._bus, ended)
            self._sweep_in(SWEEP_DELAY_S)
            return
        for name, host in self._hosts.items():
            if host.pid == ended.pid:
                children.kill_group(ended.pid)
                del self._hosts[name]
                self._door.tell(
                    HostGone(host=name, pid=ended.pid, exit_code=ended.exit_code, signal=ended.signal)
                )
                log.info(
                    "host.gone", extra={"host": name, "exit_code": ended.exit_code, "signal": ended.signal}
                )
                self._sweep_in(SWEEP_DELAY_S)
                return
        if not self._nursery.ended(ended.pid) and self._nursery.is_bearing:
            self._unclaimed[ended.pid] = ended
        # An image or an orphan: what it leaves behind is ours now.
        self._sweep_in(0.0)

    def _sweep_in(self, delay_s: float) -> None:
        at_s = clock.now_s() + delay_s
        self._sweep_at_s = at_s if self._sweep_at_s is None else min(self._sweep_at_s, at_s)

    def _kill_orphans(self) -> None:
        """Kill what dead hosts left behind: while a host lives, all that it starts stays below it.

        Children of these become ours when they are reaped, which leads here again, until none is left.
        """
        if self._nursery.is_bearing:  # there may be hosts that we do not know yet
            self._sweep_in(SWEEP_DELAY_S)
            return
        self._unclaimed.clear()
        known = {host.pid for host in self._hosts.values()} | self._bus_pids() | self._nursery.pids
        try:
            orphans = children.child_pids() - known
        except OSError:  # no file is left to look with
            self._sweep_in(SWEEP_DELAY_S)
            return
        for pid in orphans:
            log.info("orphan.killed", extra={"orphan": pid})
            children.kill(pid)

    def _bus_pids(self) -> set[int]:
        return {self._bus.pid} if self._bus and self._bus.pid is not None else set()

    def _bus_ended(self, bus: EmbeddedValkey, ended: children.Ended) -> None:
        log.info("bus.gone", extra={"exit_code": ended.exit_code, "signal": ended.signal})
        bus.ended(clock.now_s())
        self._door.tell(BusGone(pid=ended.pid, exit_code=ended.exit_code, signal=ended.signal))
        if self._phase is Phase.STOPPING_BUS:
            self._bus = None


def _not_made(host: str, why: str) -> LaunchError:
    return LaunchError(f"no process could be made for host '{host}'", why=why, code="E2009")


def _due(at_s: float | None, now_s: float) -> bool:
    return at_s is not None and now_s >= at_s
