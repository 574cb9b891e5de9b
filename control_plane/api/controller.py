"""What the API needs of a control plane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any, Protocol

from contracts.messages import AnyRequest
from contracts.status import AppStatus, StopReport, StreamLedger


class Controller(Protocol):
    """A running control plane, as its API sees it."""

    def status(self) -> AppStatus:
        """Return the status of the whole application."""
        ...

    def changes(self) -> AsyncIterator[AppStatus]:
        """Iterate over the status: now, and after each change; changes in between may be skipped."""
        ...

    async def request(self, request: AnyRequest, *, wait_s: float | None = None) -> dict[str, Any]:
        """Make a request; with `wait_s`, return when what was asked for is so.

        Raises:
            CoplaneError: the request was refused, failed (E3003), or was not done in time (E3004).
        """
        ...

    async def stop(self) -> StopReport:
        """Drain and stop everything; return when it is done. A caller that gives up stops nothing."""
        ...

    def events(
        self, *, since: str | None = None, follow: bool = False
    ) -> AsyncIterator[tuple[str, dict[str, str]]]:
        """Iterate over the entries of the event stream after `since`; with `follow`, for ever."""
        ...

    async def newest_events(
        self, count: int, *, where: Mapping[str, Collection[str]], since: str | None = None
    ) -> list[tuple[str, dict[str, str]]]:
        """Return the newest `count` entries after `since`, oldest first, of which each field that is
        named has one of the values given."""
        ...

    async def streams(self) -> list[StreamLedger]:
        """Return the ledger of each stream and consumer group."""
        ...
