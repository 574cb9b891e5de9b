"""The commands of a host: read from the streams of its components, obeyed once each, and answered."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from contracts.errors import BusError, ControlError
from contracts.messages import Command, CommandCompleted, CommandFailed, MalformedEntry, from_fields
from control_plane.brokers import StreamTransport
from control_plane.runtime import clock
from control_plane.runtime.announcer import Announcer, commands_stream

log = logging.getLogger("coplane.host")

CarryOut = Callable[[Command], Coroutine[Any, Any, ControlError | None]]

COMMANDS_REMEMBERED = 256
COMMANDS_READ = 50
BLOCK_S = 30.0
BUS_PATIENCE_S = 20.0
BUS_PAUSE_S = 0.05
AWAY_PAUSE_S = 1.0


class Commands:
    """Reads what one host is told.

    Args:
        carry_out: does what a command says, and returns why not where it does not.
        run: starts a task that the host owns.
    """

    def __init__(
        self,
        transport: StreamTransport,
        announcer: Announcer,
        *,
        app: str,
        host: str,
        carry_out: CarryOut,
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._transport = transport
        self._announcer = announcer
        self._app = app
        self._host = host
        self._carry_out = carry_out
        self._run = run
        self._positions: dict[str, str] = {}
        self._obeyed: OrderedDict[str, None] = OrderedDict()
        self._epoch = 0

    async def take_position(self, components: Iterable[str], *, wanted: Callable[[], bool]) -> None:
        """Begin with what these components' replicas are told from now on.

        An embedded Valkey starts at the same time as its hosts: it is waited for while it is `wanted`.

        Raises:
            BusError: the bus does not answer.
        """
        deadline_s = clock.now_s() + BUS_PATIENCE_S
        for stream in sorted({commands_stream(self._app, component) for component in components}):
            while stream not in self._positions:
                try:
                    self._positions[stream] = await self._transport.last_id(stream)
                except BusError:
                    if clock.now_s() > deadline_s or not wanted():
                        raise
                    await asyncio.sleep(BUS_PAUSE_S)

    async def obey(self) -> None:
        """Have carried out what comes, until cancelled."""
        while True:
            try:
                entries = await self._transport.tail(self._positions, count=COMMANDS_READ, block_s=BLOCK_S)
            except BusError as exc:
                log.warning("host.bus_away", extra={"error": str(exc)})
                await asyncio.sleep(AWAY_PAUSE_S)
                continue
            for stream, entry in entries:
                self._positions[stream] = entry.id
                try:
                    message = from_fields(entry.fields)
                except MalformedEntry as exc:
                    log.warning(
                        "command.skipped", extra={"stream": stream, "entry": entry.id, "error": str(exc)}
                    )
                    continue
                if isinstance(message, Command) and message.host == self._host:
                    # Commands to a component that was moved here follow on its own stream.
                    self._positions.setdefault(commands_stream(self._app, message.component), entry.id)
                    self._accept(message)

    def _accept(self, command: Command) -> None:
        if command.command_id in self._obeyed:
            return
        if command.epoch < self._epoch:
            why = f"command of epoch {command.epoch}; the leader's is {self._epoch}"
            self._refuse(command, ControlError(why))
            return
        self._epoch = command.epoch
        self._obeyed[command.command_id] = None
        while len(self._obeyed) > COMMANDS_REMEMBERED:
            self._obeyed.popitem(last=False)
        self._run(self._answer(command))

    async def _answer(self, command: Command) -> None:
        refusal = await self._carry_out(command)
        if refusal is not None:
            self._obeyed.pop(command.command_id, None)
            self._refuse(command, refusal)
            return
        self._announcer.announce(
            CommandCompleted(
                component=command.component,
                replica=command.replica,
                host=self._host,
                command_id=command.command_id,
                command=command.type,
                correlation_id=command.correlation_id,
            )
        )

    def _refuse(self, command: Command, error: ControlError) -> None:
        self._announcer.announce(
            CommandFailed(
                component=command.component,
                replica=command.replica,
                host=self._host,
                command_id=command.command_id,
                command=command.type,
                error=error.as_dict(),
                correlation_id=command.correlation_id,
            )
        )
