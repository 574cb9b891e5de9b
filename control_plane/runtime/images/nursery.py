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
from collections.abc import Iterable, Sequence
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
MAX_IMAGES = 5
# Of images that had not even imported what every host needs, in a row.
MAX_EARLY_DEATHS = 3


@dataclass
class Waiting:
    """A host that is to be forked.

    Attributes:
        modules: those of its components that are imported before.
        image: the one that was told to fork it.
        doomed: it is to be killed as soon as it is there.
        told: what its requester was told it waits for.
    """

    spec: HostSpec
    modules: frozenset[str]
    image: Image | None = None
    doomed: bool = False
    told: str = ""


@dataclass
class Image:
    """One image process, as the anchor knows it.

    Attributes:
        queue: modules that it will import.
        modules: those that it has imported, or tried to.
        awake_s: since when it obeys; None while it still imports what every host needs.
        importing: the module that it imports now, since `since_s`.
        package: what is not the project's own in this import, or in the one that took long.
        apart: it was left to a slow import.
    """

    pid: int
    peer: Connection
    queue: deque[str]
    modules: list[str] = field(default_factory=list)
    awake_s: float | None = None
    importing: str = ""
    since_s: float = 0.0
    package: str = ""
    apart: bool = False


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
        self._modules = tuple(dict.fromkeys(modules))
        self._waiting: dict[str, Waiting] = {}
        self._images: list[Image] = []
        # Which image has a module, or is to have it; none for one that is not to be imported before a fork.
        self._homes: dict[str, Image] = {}
        self._early_deaths = 0
        self._closed = False
        self._add_image(self._modules)

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
        """When the import that is under way will have taken long."""
        hasty = self._hasty()
        return hasty.since_s + SLOW_S if hasty else None

    def awaits(self, host: str) -> bool:
        """Tell whether a host of this id is to be forked."""
        return host in self._waiting

    def bear(self, spec: HostSpec) -> None:
        """Fork a host as soon as the modules of its components are imported; the owner hears of it."""
        needed = frozenset(replica.component.use.partition(":")[0] for replica in spec.replicas)
        self._waiting[spec.id] = Waiting(spec, needed)
        if not self._images and not self._closed:
            self._early_deaths = 0
            self._add_image(self._modules)
        self._go_on()

    def give_up(self, host: str) -> None:
        """Fork a host no more; one that is just being forked is doomed."""
        waiting = self._waiting[host]
        if waiting.image is None:
            del self._waiting[host]
            self._owner.stillborn(waiting.spec, "it was told to end before it had a process")
        else:
            waiting.doomed = True

    def give_up_all(self) -> None:
        """Fork none of the hosts that wait."""
        for host in tuple(self._waiting):
            self.give_up(host)

    def act(self, now_s: float) -> None:
        """Leave an image to its import, where that takes long."""
        hasty = self._hasty()
        if hasty and now_s >= hasty.since_s + SLOW_S:
            self._leave_apart(hasty)
            self._go_on()

    def ended(self, pid: int) -> bool:
        """Hear of the end of a process; tell whether it was an image."""
        image = next((image for image in self._images if image.pid == pid), None)
        if image is not None:
            self._lost(image)
            self._go_on()
        return image is not None

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
                image.awake_s, self._early_deaths = clock.now_s(), 0
            case Begun():
                image.package = report.package
            case Imported():
                image.importing = ""
                self._imported(image, report)
            case Forked():
                self._forked(report)
        self._go_on()

    def _imported(self, image: Image, done: Imported) -> None:
        match done.outcome:
            case "unsafe":
                _kill(image)
                self._replace(image, without=done.module, why=done.why)
            case "elsewhere":
                other = next((one for one in self._images if one.apart and one.package == done.why), image)
                other.queue.append(done.module)
                self._homes[done.module] = other
            case "imported" | "failed":
                image.modules.append(done.module)

    def _forked(self, forked: Forked) -> None:
        waiting = self._waiting.pop(forked.host)
        if forked.pid is None:
            self._owner.stillborn(waiting.spec, forked.error)
        else:
            self._owner.born(waiting.spec, forked.pid, doomed=waiting.doomed)

    def _lost(self, image: Image) -> None:
        """Let another image do what this one was there for, but not import what has ended it."""
        for waiting in tuple(self._waiting.values()):
            if waiting.image is image:
                waiting.image = None
                if waiting.doomed:
                    self.give_up(waiting.spec.id)
        self._early_deaths += image.awake_s is None
        if self._early_deaths < MAX_EARLY_DEATHS:
            self._replace(image, without=image.importing, why="importing it ends the process")
            return
        self._images.remove(image)
        image.peer.close()
        for waiting in tuple(self._waiting.values()):
            del self._waiting[waiting.spec.id]
            self._owner.stillborn(waiting.spec, "the process that is to fork it dies, see anchor.log")

    # Images.

    def _add_image(self, modules: Iterable[str], *, apart: bool = False, package: str = "") -> None:
        ours, theirs = socket.socketpair()
        pid = self._owner.fork_image(theirs, ours)
        theirs.close()
        image = Image(
            pid,
            Connection(
                ours,
                self._selector,
                on_line=lambda _, line: self._heard(image, line),
                on_close=lambda _: _kill(image) if image in self._images else None,
            ),
            deque(modules),
            apart=apart,
            package=package,
        )
        self._images.append(image)
        self._homes.update(dict.fromkeys(image.queue, image))

    def _replace(self, image: Image, *, without: str, why: str) -> None:
        """Make another image of the same modules, but for the one that has spoiled this."""
        self._images.remove(image)
        image.peer.close()
        if without:
            del self._homes[without]
            log.warning("module.unsafe", extra={"target": without, "why": why})
        kept = [module for module, home in self._homes.items() if home is image]
        if not self._closed:
            self._add_image(kept, apart=image.apart, package=image.package)

    def _hasty(self) -> Image | None:
        """Return the image that others wait for while it imports, if another can take its place."""
        image = self._common()
        return image if image and image.importing and len(self._images) < MAX_IMAGES else None

    def _common(self) -> Image | None:
        return next((image for image in self._images if not image.apart), None)

    def _leave_apart(self, image: Image) -> None:
        log.info("image.left_apart", extra={"target": image.importing, "package": image.package})
        image.apart = True
        rest = [*image.modules, *image.queue]
        image.modules.clear()
        image.queue.clear()
        self._add_image(rest)

    # What is next.

    def _go_on(self) -> None:
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

    def _fork_from(self, image: Image) -> None:
        for waiting in self._waiting.values():
            if waiting.image is None and self._image_for(waiting) is image:
                waiting.image = image
                image.peer.send(Fork(spec=waiting.spec))

    def _import_into(self, image: Image) -> None:
        if image.queue:
            image.importing, image.since_s = image.queue.popleft(), clock.now_s()
            if not image.apart:
                image.package = ""
            others = (one for one in self._images if one.apart and one.package and one is not image)
            image.peer.send(Import(module=image.importing, avoid=tuple(o.package for o in others)))

    def _homes_of(self, waiting: Waiting) -> dict[str, Image]:
        return {module: self._homes[module] for module in waiting.modules if module in self._homes}

    def _image_for(self, waiting: Waiting) -> Image | None:
        """Return the image that bears a host, once it has all modules that it is to have."""
        homes = self._homes_of(waiting)
        if any(module not in image.modules for module, image in homes.items()):
            return None
        return next((image for image in homes.values() if image.apart), self._common())

    def _delay_of(self, waiting: Waiting) -> str:
        for module, image in self._homes_of(waiting).items():
            if image.apart and module == image.importing:
                return f"importing '{module}' takes long" + (f" ({image.package})" if image.package else "")
            if image.apart and module in image.queue:
                return f"'{module}' waits for the import of '{image.importing}'"
        return ""


def _kill(image: Image) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(image.pid, signal.SIGKILL)
