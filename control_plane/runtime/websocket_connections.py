"""uvicorn's WebSockets, for a server that closes them in order; loaded with the first of them."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from control_plane.runtime.exchanges import FAREWELL_S


class WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose client has answered the goodbye before the connection closes.

    uvicorn closes at once, and a client that is just sending sees a reset in the place of the close code.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._farewell: asyncio.TimerHandle | None = None

    def retire(self, _linger_s: float) -> None:
        """Give the application time to close; where it does not, close with 1012."""
        self.close_timeout = FAREWELL_S
        self._farewell = self.loop.call_later(FAREWELL_S, self.shutdown)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        if self._farewell is not None:
            self._farewell.cancel()
