"""The anchor's side of its images: what each of them imports, and which hosts it bears.

There is one image for all, until an import takes long: then that image is left to it, with whatever else
needs the same package, and another one, forked from the anchor, goes on with the rest. Whatever a module does
at import, it does it to an image, and an image can be replaced: by one without the module that started a
thread, or that ended the process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import ValidationError

from contracts.specs import HostSpec
from control_plane.runtime import clock
from control_plane.runtime.anchor_connection import Connection
from control_plane.runtime.images.protocol import (
    Awake,
    Begun,
    Fork,
    Forked,
    Import,
    Imported,
    read_report,
)

log = logging.getLogger("coplane.anchor")

# Longer than what most modules take, far shorter than what people notice.
SLOW_S = 0.5
MAX_IMAGES = 8
# Images that lived no longer, so many in a row, are not made again in the same way.
SHORT_LIFE_S = 10.0
MAX_SHORT_LIVES = 5
# A fork takes some milliseconds.
STUCK_S = 5.0


@dataclass
class Waiting:
    """A host that is to be forked.

    Attributes:
        modules: those of its components.
        image: the one that was told to fork it, at `ordered_s`.
        doomed: it is to be killed as soon as it is there.
        told: what its requester was told it waits for.
    """

    spec: HostSpec
    modules: tuple[str, ...]
    image: Image | None = None
    ordered_s: float = 0.0
    doomed: bool = False
    told: str = ""


@dataclass
class Image:
    """One image process, as the anchor knows it.

    Attributes:
        queue: modules that it will import.
        modules: those that it has imported, or tried to.
        awake_s: since when it obeys; None while it still imports what every host needs.
        importing: the module that it imports now, since `since_s`; `slow`, if that takes long.
        package: what is not the project's own in this import; of an image apart, in the one that took long.
        apart: it was left to a slow import.
        spoilt: it must fork no more.
    """

    pid: int
    peer: Connection
    queue: deque[str]
    born_s: float
    apart: bool = False
    package: str = ""
    modules: list[str] = field(default_factory=list)
    awake_s: float | None = None
    importing: str = ""
    since_s: float = 0.0
    slow: bool = False
    spoilt: bool = False


class Owner(Protocol):
    """Who keeps the nursery."""

    def fork_image(self, peer: socket.socket, ours: socket.socket) -> int:
        """Fork a process that lives as an image on `peer`, and return its id; `ours` is the other end."""
        ...

    def born(self, spec: HostSpec, pid: int, *, doomed: bool) -> None:
        """Take a host that has a process now; one that is doomed is to be killed."""
        ...

    def stillborn(self, spec: HostSpec, why: str) -> None:
        """Hear that no process could be made for a host."""
        ...

    def delayed(self, spec: HostSpec, why: str) -> None:
        """Hear what a host waits for that takes long."""
        ...


class Nursery:
    """All images, and all hosts that wait for one."""

    def __init__(self, owner: Owner, selector: selectors.BaseSelector, modules: Sequence[str]) -> None:
        self._owner = owner
        self._selector = selector
        self._waiting: dict[str, Waiting] = {}
        self._images: list[Image] = []
        # What is imported before a fork, and which image has it, or is to have it.
        self._homes: dict[str, Image | None] = dict.fromkeys(modules)
        self._short_lives = 0
        self._lost_patience = False
        self._closed = False
        self._go_on()

    # What the anchor asks.

    @property
    def pids(self) -> set[int]:
        """The processes of all images."""
        return {image.pid for image in self._images}

    @property
    def is_bearing(self) -> bool:
        """Tell whether there may be a host's process of which its image has not told yet."""
        return any(waiting.image for waiting in self._waiting.values())

    @property
    def wake_at_s(self) -> float | None:
        """When the next import that is under way will have taken long."""
        hasty = (image.since_s + SLOW_S for image in self._images if image.importing and not image.slow)
        return None if self._closed else min(hasty, default=None)

    def awaits(self, host: str) -> bool:
        """Tell whether a host of this id is to be forked."""
        return host in self._waiting

    def bear(self, spec: HostSpec) -> None:
        """Fork a host as soon as the modules of its components are imported; the owner hears of it."""
        modules = dict.fromkeys(replica.component.use.partition(":")[0] for replica in spec.replicas)
        self._waiting[spec.id] = Waiting(spec, tuple(modules))
        self._lost_patience = False

    def give_up(self, host: str) -> None:
        """Fork a host no more; one that is just being forked is doomed."""
        waiting = self._waiting[host]
        if waiting.image is None:
            self._refuse(waiting, waiting.told or "it was told to end before it had a process")
            return
        waiting.doomed = True
        if clock.now_s() > waiting.ordered_s + STUCK_S:
            _kill(waiting.image)

    def give_up_all(self) -> None:
        """Fork none of the hosts that wait."""
        for host in tuple(self._waiting):
            self.give_up(host)

    def act(self, now_s: float) -> None:
        """Do what is possible by now, all at once: call it whenever something has happened."""
        late = [
            image
            for image in self._images
            if image.importing and not image.slow and now_s >= image.since_s + SLOW_S
        ]
        for image in late:
            image.slow = True
            if image.spoilt:  # what it imports would be of no use
                self._drop(image)
            elif not image.apart and len(self._images) < MAX_IMAGES:
                self._leave_apart(image)
        self._go_on()

    def ended(self, pid: int) -> bool:
        """Hear of the end of a process; tell whether it was an image."""
        image = next((image for image in self._images if image.pid == pid), None)
        if image is None:
            return False
        self._images.remove(image)  # its process id may be another's soon
        image.peer.read_to_the_end()
        self._lost(image)
        return True

    def close(self) -> None:
        """Make no hosts and no images any more."""
        self._closed = True
        self.give_up_all()

    def release(self) -> None:
        """Close our connections to images after a fork."""
        for image in self._images:
            image.peer.release()

    # What images report.

    def _heard(self, image: Image, line: bytes) -> None:
        try:
            report = read_report(line)
        except ValidationError:  # whatever is imported there has written on the connection
            _kill(image)
            return
        match report:
            case Awake():
                image.awake_s = clock.now_s()
            case Begun():
                if not (image.apart and image.package):
                    image.package = report.package
            case Imported():
                image.importing, image.slow = "", False
                self._imported(image, report)
            case Forked():
                self._forked(report)

    def _imported(self, image: Image, done: Imported) -> None:
        image.spoilt = image.spoilt or done.spoils
        match done.outcome:
            case "unsafe":
                self._leave_to_hosts(done.module, done.why)
            case "elsewhere":
                other = next((one for one in self._images if one.apart and one.package == done.why), None)
                if other:
                    other.queue.append(done.module)
                self._homes[done.module] = other
            case "imported" | "failed":
                image.modules.append(done.module)

    def _leave_to_hosts(self, module: str, why: str) -> None:
        self._homes.pop(module, None)
        log.warning("module.unsafe", extra={"target": module, "why": why})

    def _forked(self, forked: Forked) -> None:
        waiting = self._waiting.pop(forked.host)
        if forked.pid is None:
            self._owner.stillborn(waiting.spec, forked.error)
        else:
            self._owner.born(waiting.spec, forked.pid, doomed=waiting.doomed)

    def _refuse(self, waiting: Waiting, why: str) -> None:
        del self._waiting[waiting.spec.id]
        self._owner.stillborn(waiting.spec, why)

    # Images that end.

    def _lost(self, image: Image) -> None:
        """Do without an image that has died: others import what it had, but for what has ended it."""
        for waiting in tuple(self._waiting.values()):
            if waiting.image is image:
                waiting.image = None
                if waiting.doomed:
                    self.give_up(waiting.spec.id)
        self._forget(image)
        if image.importing:
            self._leave_to_hosts(image.importing, "importing it ends the process")
        elif clock.now_s() < image.born_s + SHORT_LIFE_S:
            self._short_lives += 1
        else:
            self._short_lives = 0
        if self._short_lives >= MAX_SHORT_LIVES:
            self._lose_patience()

    def _lose_patience(self) -> None:
        """Blame the modules, which hosts import by themselves then; without any, the hosts that wait."""
        self._short_lives = 0
        homeless = [module for module, home in self._homes.items() if home is None]
        for module in homeless:
            self._leave_to_hosts(module, "images that have it die")
        if not homeless:
            self._lost_patience = True  # until somebody asks again
            for waiting in tuple(self._waiting.values()):
                if waiting.image is None:
                    self._refuse(waiting, "the process that is to fork it dies, see anchor.log")

    def _drop(self, image: Image) -> None:
        """End an image; whatever it had is imported by another one."""
        _kill(image)
        self._images.remove(image)
        self._forget(image)

    def _forget(self, image: Image) -> None:
        image.peer.close()
        for module, home in self._homes.items():
            if home is image:
                self._homes[module] = None

    # What is next.

    def _go_on(self) -> None:
        if self._closed:
            return
        for image in tuple(self._images):
            is_of_use = image.modules if image.apart else not image.spoilt
            if not (is_of_use or image.importing or image.queue):
                self._drop(image)
        self._find_homes()
        for image in self._images:
            if image.awake_s is not None and not image.importing:
                # All that comes quickly first: what is written between two forks is shared by neither.
                if not image.queue or image.apart or clock.now_s() >= image.awake_s + SLOW_S:
                    self._fork_from(image)
                self._import_into(image)
        for waiting in self._waiting.values():
            if (why := self._delay_of(waiting)) and why != waiting.told:
                waiting.told = why
                self._owner.delayed(waiting.spec, why)

    def _find_homes(self) -> None:
        """Let every module be imported somewhere, and every host be forked from somewhere."""
        homeless = [module for module, home in self._homes.items() if home is None]
        common = self._common() or (None if self._lost_patience else self._add_image())
        if common is not None:
            common.queue.extend(homeless)
            self._homes.update(dict.fromkeys(homeless, common))

    def _add_image(self) -> Image | None:
        ours, theirs = socket.socketpair()
        try:
            pid = self._owner.fork_image(theirs, ours)
        except OSError as exc:
            ours.close()
            for waiting in tuple(self._waiting.values()):
                if waiting.image is None and not self._homes_of(waiting):
                    self._refuse(waiting, f"the process that is to fork it could not be made: {exc}")
            return None
        finally:
            theirs.close()
        peer = Connection(
            ours,
            self._selector,
            on_line=lambda _, line: self._heard(image, line),
            on_close=lambda _: _kill(image) if image in self._images else None,
        )
        image = Image(pid, peer, deque(), born_s=clock.now_s())
        self._images.append(image)
        return image

    def _leave_apart(self, image: Image) -> None:
        log.info("image.left_apart", extra={"target": image.importing, "package": image.package})
        image.apart = True
        for module in (*image.modules, *image.queue):
            self._homes[module] = None
        image.modules.clear()
        image.queue.clear()

    def _common(self) -> Image | None:
        return next((image for image in self._images if not image.apart), None)

    def _fork_from(self, image: Image) -> None:
        if image.spoilt:
            return
        chosen = [
            waiting
            for waiting in self._waiting.values()
            if waiting.image is None and self._image_for(waiting) is image
        ]
        for waiting in chosen:
            waiting.image, waiting.ordered_s = image, clock.now_s()
        if chosen:
            image.peer.send(Fork(specs=tuple(waiting.spec for waiting in chosen)))

    def _import_into(self, image: Image) -> None:
        if not image.queue:
            return
        image.importing, image.since_s = image.queue.popleft(), clock.now_s()
        avoid: tuple[str, ...] = ()
        if not image.apart:
            image.package = ""
            avoid = tuple(one.package for one in self._images if one.apart and one.package)
        image.peer.send(Import(module=image.importing, avoid=avoid))

    def _homes_of(self, waiting: Waiting) -> dict[str, Image]:
        homes = ((module, self._homes.get(module)) for module in waiting.modules)
        return {module: home for module, home in homes if home}

    def _image_for(self, waiting: Waiting) -> Image | None:
        """Return the image that bears a host, once it has all modules that it is to have."""
        homes = self._homes_of(waiting)
        if any(module not in image.modules for module, image in homes.items()):
            return None
        return next((image for image in homes.values() if image.apart), self._common())

    def _delay_of(self, waiting: Waiting) -> str:
        for module, image in self._homes_of(waiting).items():
            if image.slow and module == image.importing:
                return f"importing '{module}' takes long" + (f" ({image.package})" if image.package else "")
            if image.importing and module in image.queue and (image.slow or image.apart):
                return f"'{module}' waits for the import of '{image.importing}'"
        return ""


def _kill(image: Image) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(image.pid, signal.SIGKILL)
