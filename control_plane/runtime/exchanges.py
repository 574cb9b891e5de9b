"""One request or WebSocket on its way through an application, watched from outside.

It knows how far the answer is, and can ask an endless one (server-sent events, a WebSocket) to
close: the application then sees its client leave, and the client sees an orderly end.
"""

from __future__ import annotations

import asyncio

from contracts.component import AsgiMessage, Receive, Scope, Send

# For the client of an endless answer to read the last of it.
FAREWELL_S = 1.0
SERVICE_RESTART = 1012  # the registry of RFC 6455: the client may connect again at once

# What Starlette sends for an exception nobody handled, before it raises the exception again.
_UNHANDLED = b"Internal Server Error"


class ConnectionClosing(OSError):
    """The answer was asked to end; ASGI has it that sending to a closed connection is an OSError."""


class Exchange:
    """Stands between a server and an application for one request."""

    __slots__ = (
        "_held",
        "_receive",
        "_send",
        "_sending",
        "_waiting",
        "closing",
        "complete",
        "endless",
        "given_up",
        "gone",
        "started",
        "websocket",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._held: list[AsgiMessage] = []
        self._waiting: asyncio.Task[object] | None = None
        self._sending: asyncio.Task[object] | None = None
        self.websocket = self.endless = scope["type"] == "websocket"
        self.started = False
        self.complete = False
        self.gone = False
        self.closing = False
        self.given_up = False

    @classmethod
    def around(cls, scope: Scope, receive: Receive, send: Send) -> Exchange:
        """Return what stands between the two; one exchange does for all who would watch the same one."""
        outer = getattr(send, "__self__", None)
        if outer is getattr(receive, "__self__", None) and isinstance(outer, Exchange):
            return outer
        return cls(scope, receive, send)

    @property
    def _ending(self) -> bool:
        # A WebSocket is accepted first: only then can it be closed with a code that says why.
        return self.closing and self.endless and self.started

    def close(self) -> None:
        """Ask the answer to end, if it is, or turns out to be, an endless one.

        Its client gets `FAREWELL_S` to read what it was sent; one that does not is given up.
        """
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_later(FAREWELL_S, self._give_up)
        self._wake()

    async def receive(self) -> AsgiMessage:
        """Return what the client sends, or that it left."""
        if self._ending:
            return self._farewell()
        task = self._waiting = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            # As asyncio.timeout does it: our own cancellation ends here, anybody else's goes on.
            if not self._ending or task.uncancel() > cancelled_before:
                raise
            return self._farewell()
        finally:
            self._waiting = None
        if message["type"].endswith(".disconnect"):
            self.gone = True
        return message

    async def send(self, message: AsgiMessage) -> None:
        """Pass on what the application answers; an answer that only reports a crash is held back."""
        match message["type"]:
            case "http.response.start":
                if self.started or self._held:
                    raise RuntimeError("the answer has begun, and cannot begin again")
                if message["status"] == 500 and _may_report_a_crash(message):
                    self._held.append(message)
                    return
                self.started = True
                self.endless = _is_event_stream(message)
                if self.closing:
                    self._wake()
            case "http.response.body":
                if self._held:
                    await self._hold_or_release(message)
                    return
                if self.closing:
                    self._refuse_to_go_on()
                self.complete = not message.get("more_body", False)
            case "websocket.accept" | "websocket.http.response.start":
                self.started = True
            case "websocket.send":
                if self.closing:
                    self._refuse_to_go_on()
            case "websocket.close":
                self.complete = True
            case "websocket.http.response.body":
                self.complete = not message.get("more_body", False)
        try:
            await (self._send_endless(message) if self.endless else self._send(message))
        except ConnectionClosing:
            raise
        except OSError:
            self.gone = True  # as ASGI has it for a client that left
            raise

    async def finish(self) -> None:
        """Make the answer whole, once its application has returned.

        Raises:
            RuntimeError: the application left the answer unfinished, or gave none.
        """
        if self._held:
            await self._release()
        if self.complete or self.gone:
            return
        if not (self.started and self.endless):
            raise RuntimeError("the application returned before its answer was complete")
        await self._say_goodbye()

    async def break_off(self) -> None:
        """End a WebSocket with the code of an error; a broken body cannot be mended."""
        self.complete = True
        await self._send({"type": "websocket.close", "code": 1011, "reason": ""})

    def forget_held(self) -> None:
        """Drop the answer that only reports a crash: a better one follows."""
        self._held.clear()

    async def _say_goodbye(self) -> None:
        self.complete = True
        code = SERVICE_RESTART if self.closing else 1000
        last: AsgiMessage = {"type": "http.response.body", "body": b""}
        if self.websocket:
            last = {"type": "websocket.close", "code": code, "reason": ""}
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self._send_endless(last)
        except TimeoutError:
            self.given_up = self.gone = True  # it does not read

    async def _send_endless(self, message: AsgiMessage) -> None:
        """Send; a client that does not read holds us up only until it is given up."""
        task = self._sending = asyncio.current_task()
        assert task is not None
        cancelled_before = task.cancelling()
        try:
            await self._send(message)
        except asyncio.CancelledError:
            if not self.given_up or task.uncancel() > cancelled_before:
                raise
            raise ConnectionClosing from None
        finally:
            self._sending = None

    def _give_up(self) -> None:
        if self._sending is not None:
            self.given_up = self.gone = True
            self._sending.cancel()

    async def _hold_or_release(self, message: AsgiMessage) -> None:
        self._held.append(message)
        if message.get("body") != _UNHANDLED:
            await self._release()

    async def _release(self) -> None:
        held, self._held = self._held, []
        for message in held:
            self.started = True
            self.complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await self._send(message)

    def _refuse_to_go_on(self) -> None:
        if self._ending:
            raise ConnectionClosing

    def _wake(self) -> None:
        if self._ending and self._waiting is not None:
            self._waiting.cancel()

    def _farewell(self) -> AsgiMessage:
        if self.websocket:
            return {"type": "websocket.disconnect", "code": SERVICE_RESTART, "reason": ""}
        return {"type": "http.disconnect"}


def _may_report_a_crash(message: AsgiMessage) -> bool:
    headers = dict(message.get("headers", ()))
    return headers.get(b"content-length") == b"%d" % len(_UNHANDLED) and headers.get(
        b"content-type", b""
    ).startswith(b"text/plain")


def _is_event_stream(message: AsgiMessage) -> bool:
    for name, value in message.get("headers", ()):
        if name == b"content-type":
            return bool(value.startswith(b"text/event-stream"))
    return False
