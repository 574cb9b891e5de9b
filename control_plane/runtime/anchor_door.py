"""Who speaks to the anchor: anybody may knock, one at a time is in control.

The newest `hello` takes control and ends the connection before it, unless its epoch is lower: a leader
that was paused and comes back cannot do harm. What happens while nobody is in control is remembered.
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections import deque
from typing import Protocol

from pydantic import ValidationError

from contracts.errors import ControlError, CoplaneError, LaunchError
from control_plane.runtime import clock
from control_plane.runtime.anchor_connection import Connection
from control_plane.runtime.anchor_protocol import (
    AnchorEvent,
    Answer,
    Hello,
    HostDelayed,
    Refused,
    Request,
    Welcome,
    read_request,
)

log = logging.getLogger("coplane.anchor")

EVENTS_REMEMBERED = 1000
MAX_CONNECTIONS = 16


class Steward(Protocol):
    """Carries out what the controller asks for."""

    def welcome(self, hello: Hello) -> Welcome:
        """Say what there is to take over.

        Raises:
            CoplaneError: nobody can take over any more.
        """
        ...

    def obey(self, request: Request) -> Answer | None:
        """Carry out a request; None where it is answered later.

        Raises:
            CoplaneError: it cannot be done.
        """
        ...


class Door:
    """The listening socket and everybody who came through it."""

    def __init__(self, listener: socket.socket, selector: selectors.BaseSelector, steward: Steward) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._selector = selector
        self._steward = steward
        self._guests: set[Connection] = set()
        self._controller: Connection | None = None
        self._epoch = 0
        self._untold: deque[AnchorEvent] = deque(maxlen=EVENTS_REMEMBERED)
        self.deserted_at_s: float | None = None
        selector.register(listener, selectors.EVENT_READ, self._accept)

    def open(self) -> None:
        """Begin to wait for a controller."""
        self.deserted_at_s = clock.now_s()

    def tell(self, event: AnchorEvent) -> None:
        """Tell the controller of something, or remember it for the next one; not what only he waits for."""
        if self._controller is not None:
            self._controller.send(event)
        elif not isinstance(event, HostDelayed):
            self._untold.append(event)

    def answer(self, answer: Answer) -> None:
        """Answer what the controller asked earlier; if it has gone meanwhile, nobody."""
        if self._controller is not None:
            self._controller.send(answer)

    def close(self) -> None:
        """Stop listening."""
        self._selector.unregister(self._listener)
        self._listener.close()

    def release(self) -> None:
        """Close our copies after a fork."""
        self._listener.close()
        for guest in self._guests:
            guest.release()

    def _accept(self, _events: int) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:  # gone again, or no file descriptor left: nobody else must suffer from it
            return
        if len(self._guests) >= MAX_CONNECTIONS:
            peer.close()
            return
        self._guests.add(Connection(peer, self._selector, on_line=self._heard, on_close=self._left))

    def _left(self, guest: Connection) -> None:
        self._guests.discard(guest)
        if guest is self._controller:
            self._controller = None
            self.deserted_at_s = clock.now_s()
            log.info("controller.left")

    def _heard(self, guest: Connection, line: bytes) -> None:
        number: int | None = None
        try:
            request = read_request(line)
            number = request.id
            if answer := self._answer(guest, request):
                guest.send(answer)
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            error = ControlError("the anchor does not understand the line", why=str(first["msg"]))
            guest.send(Refused(re=number, error=error.as_dict()))
        except CoplaneError as exc:
            guest.send(Refused(re=number, error=exc.as_dict()))
        if guest is self._controller:
            self._tell_untold()

    def _answer(self, guest: Connection, request: Request) -> Answer | None:
        if isinstance(request, Hello):
            return self._change_controller(guest, request)
        if guest is not self._controller:
            raise ControlError("this connection is not in control", fix="say hello first")
        return self._steward.obey(request)

    def _change_controller(self, guest: Connection, hello: Hello) -> Welcome:
        if hello.epoch < self._epoch:
            raise LaunchError(
                f"a control plane of epoch {self._epoch} is in control, and yours is {hello.epoch}",
                code="E2006",
            )
        welcome = self._steward.welcome(hello)
        previous, self._controller = self._controller, guest
        self._epoch, self.deserted_at_s = hello.epoch, None
        if previous is not None and previous is not guest:
            previous.close()
        log.info("controller.changed", extra={"controller_pid": hello.pid, "epoch": hello.epoch})
        return welcome

    def _tell_untold(self) -> None:
        while self._untold and self._controller is not None:
            self._controller.send(self._untold.popleft())
