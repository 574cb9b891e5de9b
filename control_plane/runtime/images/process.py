"""The life of an image: imports what it is told to, forks hosts, and ends with the anchor.

It decides nothing. Between two orders it waits; while it imports it does nothing else, however long that
takes. The hosts that it forks are the anchor's children, not its own.
"""

from __future__ import annotations

import gc
import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from contracts.specs import HostSpec
from control_plane.runtime import children
from control_plane.runtime.anchor_protocol import MAX_ANSWER_BYTES, Lines, to_line
from control_plane.runtime.images import modules
from control_plane.runtime.images.protocol import Awake, Begun, Fork, Forked, Import, Report, read_order
from control_plane.runtime.sources import Sources

log = logging.getLogger("coplane.image")

READ_BYTES = 1 << 16


class ImageProcess:
    """An image, in its own process.

    Args:
        peer: the connection to the anchor.
        project: the folder that the users' modules are imported from.
        entry: what a host runs.
        release: closes in a host what belongs to the anchor or to another host.
    """

    def __init__(
        self,
        peer: socket.socket,
        *,
        project: Path,
        entry: children.HostEntry,
        release: Callable[[HostSpec], None],
    ) -> None:
        self._peer = peer
        self._project = project
        self._entry = entry
        self._release = release
        self._watch = modules.ImportWatch(project, lambda package: self._report(Begun(package=package)))
        self._sources = Sources(project, read_since_ns=time.time_ns())

    def run(self) -> int:
        """Obey until the anchor hangs up."""
        gc.disable()  # what is imported stays, and every host turns it on for itself
        modules.import_for_hosts()
        # Not before: a user's folder can have the name of a module that we import.
        sys.path.insert(0, str(self._project))
        self._report(Awake())
        lines = Lines(MAX_ANSWER_BYTES)
        while data := self._peer.recv(READ_BYTES):
            for line in lines.feed(data):
                match read_order(line):
                    case Import() as order:
                        self._import(order)
                    case Fork() as order:
                        self._fork(order.specs)
        return 0

    def _report(self, report: Report) -> None:
        self._peer.sendall(to_line(report))

    def _import(self, order: Import) -> None:
        self._watch.avoid = order.avoid
        done, new = modules.import_users(order.module, self._watch)
        self._sources.add(new)
        children.flush_output()
        log.info("module.imported", extra={"target": order.module, **done.model_dump(exclude={"module"})})
        self._report(done)

    def _fork(self, specs: Sequence[HostSpec]) -> None:
        # A fork has the code that was imported once; whoever has changed a file since means the file.
        changed = self._sources.changed()
        if changed:
            log.info("hosts.made_anew", extra={"changed_file": changed})
        gc.freeze()
        try:
            made = children.give_away([partial(self._make_host, spec, anew=bool(changed)) for spec in specs])
        except OSError as exc:
            made = [str(exc)] * len(specs)
        for spec, outcome in zip(specs, made, strict=True):
            pid, error = (outcome, "") if isinstance(outcome, int) else (None, outcome)
            self._report(Forked(host=spec.id, pid=pid, error=error))

    def _make_host(self, spec: HostSpec, close: Callable[[], None], *, anew: bool) -> int:
        if anew:
            return children.spawn_host(spec, self._entry)
        return children.fork_host(spec, self._entry, release=lambda: self._become_host(spec, close))

    def _become_host(self, spec: HostSpec, close: Callable[[], None]) -> None:
        close()
        self._peer.close()
        self._release(spec)
        gc.enable()
