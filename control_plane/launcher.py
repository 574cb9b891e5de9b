"""The composition root: builds a backend for a mode, runs it, and cleans up after it.

The only place where memory or Redis, this process or another, is chosen. It leaves nothing behind:
whatever way a launch ends, hosts, sockets and the lock are gone when `run_launch` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from contracts.errors import BusError, CoplaneError, LaunchError
from contracts.specs import Mode, Settings
from contracts.state import SharedState
from control_plane.brokers import StreamTransport, open_transport
from control_plane.choice import choose
from control_plane.connections import check
from control_plane.control_servers import Doors, serving
from control_plane.core import initial_state, order
from control_plane.hosting import Hosting
from control_plane.launch import Interrupted, Launch, stop_signals
from control_plane.launch_options import LaunchOptions, LaunchReporter
from control_plane.runtime import children, clock, host_logging
from control_plane.runtime.anchor_client import AnchorClient, AnchorGone
from control_plane.runtime.anchor_protocol import AnchorOptions
from control_plane.runtime.paths import RuntimeDir
from control_plane.runtime.ports import bind_public, url_of
from control_plane.stores import open_state
from control_plane.succession import Deaths, Legacy, Standing, hold_signals, let_signals_in
from control_plane.supervisor import Identity, Supervisor
from control_plane.takeover import takes_over

if TYPE_CHECKING:
    from control_plane.hosting.anchored import AnchoredHosting

log = logging.getLogger("coplane.launch")
T = TypeVar("T")

BUS_TIMEOUT_S = 10.0
BUS_PAUSE_S = 0.02
ANCHOR_TIMEOUT_S = 60.0
# On top of what hosts may take: the anchor then ends Valkey, and sweeps up what is left.
ANCHOR_MARGIN_S = 20.0
LEVEL_MARGIN_S = 5.0
# For the hosts of a dead anchor to finish what they hold.
OLD_HOSTS_GRACE_S = 2.0
EPOCH_KEY = "ctl.epoch"
NODE = "local"


@dataclass(frozen=True)
class Blueprint:
    """What a launch is to build, decided before anything runs."""

    settings: Settings
    mode: Mode
    mode_reason: str
    runtime: RuntimeDir
    options: LaunchOptions

    @property
    def embedded_bus(self) -> bool:
        """Tell whether the launch brings its own Valkey."""
        return self.settings.bus.url == "auto" and self.mode is not Mode.SINGLE

    @property
    def bus_url(self) -> str:
        """Return where the bus is."""
        if self.embedded_bus:
            return f"unix://{self.runtime.bus_socket}"
        return "memory://" if self.settings.bus.url == "auto" else self.settings.bus.url


@dataclass(frozen=True)
class Bus:
    """The streams and the shared state of one application."""

    transport: StreamTransport
    state: SharedState


@dataclass(frozen=True)
class Prepared:
    """A launch that is ready to take charge."""

    supervisor: Supervisor
    launch: Launch
    doors: Doors


def run_launch(options: LaunchOptions, reporter: LaunchReporter) -> int:
    """Launch the backend and stay until it has stopped.

    Returns:
        The exit code of `ctl launch`.
    """
    exit_code = 0
    try:
        blueprint = draw_blueprint(options)
        with _occupied(blueprint.runtime):
            reporter.starting(blueprint.settings.app.name, str(blueprint.mode), blueprint.mode_reason)
            run = _run_in_one_process if blueprint.mode is Mode.SINGLE else _run_in_processes
            exit_code = run(blueprint, reporter)
    except* CoplaneError as errors:
        error = _first(errors)
        reporter.error(error)
        exit_code = int(error.exit_code)
    return exit_code


def _first(errors: BaseExceptionGroup[CoplaneError]) -> CoplaneError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, CoplaneError)
    return found


def draw_blueprint(options: LaunchOptions) -> Blueprint:
    """Read the configuration and decide what to build.

    Raises:
        ConfigError: the configuration, or the choice of components, is wrong.
        LaunchError: the runtime folder cannot be used (E2007).
    """
    choice = choose(options)
    runtime = RuntimeDir.open(choice.project, os.environ)
    return Blueprint(choice.settings, choice.mode, choice.mode_reason, runtime, options)


@contextlib.contextmanager
def _occupied(runtime: RuntimeDir) -> Iterator[None]:
    with runtime.acquire_lock():
        try:
            yield
        finally:
            runtime.remove_ephemeral()


# One process.


def _run_in_one_process(blueprint: Blueprint, reporter: LaunchReporter) -> int:
    _takes_over(blueprint)  # in one process there is nothing to take over: what is left is ended
    blueprint.runtime.clean_stale()
    standing = Standing(public=_bind_gateway(blueprint))
    handler = host_logging.configure(blueprint.runtime.logs, label="control")
    sys.path.insert(0, str(blueprint.runtime.project))
    try:
        with host_logging.prints_to_log(), children.leaving_nothing():
            return _run_loop(_serve_inline(blueprint, reporter, standing))
    finally:
        host_logging.release(handler)
        standing.close()


async def _serve_inline(blueprint: Blueprint, reporter: LaunchReporter, standing: Standing) -> int:
    from control_plane.hosting.inline import InlineHosting

    public = standing.public
    assert public is not None
    async with _bus(blueprint) as bus, asyncio.TaskGroup() as tasks:
        hosting = InlineHosting(
            blueprint.runtime, transport=bus.transport, state=bus.state, public_socket=public, tasks=tasks
        )
        prepared = await _prepare(blueprint, reporter, bus, hosting, url_of(public), standing)
        return await _conduct(blueprint, prepared)


# Many processes.


def _run_in_processes(blueprint: Blueprint, reporter: LaunchReporter) -> int:
    standing = Standing()
    try:
        if not _takes_over(blueprint):
            _start_first_anchor(blueprint, standing)
        handler = host_logging.configure(blueprint.runtime.logs, label="control")
        try:
            return _outlive_anchors(blueprint, reporter, standing)
        finally:
            standing.end_anchor(timeout_s=_anchor_bound_s(blueprint))
            host_logging.release(handler)
    finally:
        standing.close()


def _start_first_anchor(blueprint: Blueprint, standing: Standing) -> None:
    from control_plane.runtime.anchor import start_anchor
    from control_plane.runtime.images import import_base

    blueprint.runtime.clean_stale()
    if not blueprint.embedded_bus:
        asyncio.run(check(blueprint.bus_url, timeout_s=BUS_TIMEOUT_S))
    standing.public = _bind_gateway(blueprint)
    # Fork before any thread or event loop exists; everybody then shares the pages of these imports.
    import_base()
    standing.anchor_pid = start_anchor(_anchor_options(blueprint, standing.public))


def _outlive_anchors(blueprint: Blueprint, reporter: LaunchReporter, standing: Standing) -> int:
    """Serve below one anchor after another, until somebody asks for a stop or too many have died."""
    deaths = Deaths()
    outcome = _run_loop(_serve_anchored(blueprint, reporter, standing))
    while isinstance(outcome, Legacy):
        log.error("anchor.died", extra={"error": str(outcome.error), "exit_code": standing.reap_anchor()})
        if outcome.stopping:
            _run_loop(outcome.remains.end(grace_s=stop_bound_s(blueprint.settings)))
            raise outcome.error
        if deaths.one_more_is_too_many(clock.now_s()):
            _run_loop(outcome.remains.end(grace_s=OLD_HOSTS_GRACE_S))
            raise outcome.error
        reporter.restarting("the anchor died")
        outcome = _run_loop(_serve_anew(blueprint, reporter, standing, outcome))
    return outcome


async def _serve_anew(
    blueprint: Blueprint, reporter: LaunchReporter, standing: Standing, legacy: Legacy
) -> int | Legacy:
    """Start another anchor, and let the hosts of the dead one finish and acknowledge on its Valkey."""
    from control_plane.runtime.anchor import start_anchor_anew

    if standing.public is None:
        await legacy.remains.end(grace_s=OLD_HOSTS_GRACE_S)  # one of them holds the port
        standing.bind_public_again(legacy.public_url)
    assert standing.public is not None
    blueprint.runtime.clean_stale()
    standing.anchor_pid = start_anchor_anew(_anchor_options(blueprint, standing.public))
    await legacy.remains.end(grace_s=OLD_HOSTS_GRACE_S)
    return await _serve_anchored(blueprint, reporter, standing, legacy)


async def _serve_anchored(
    blueprint: Blueprint, reporter: LaunchReporter, standing: Standing, legacy: Legacy | None = None
) -> int | Legacy:
    from control_plane.hosting.anchored import AnchoredHosting

    try:
        anchor = await AnchorClient.connect(
            blueprint.runtime.anchor_socket, pid=os.getpid(), timeout_s=ANCHOR_TIMEOUT_S
        )
    except AnchorGone as exc:
        if legacy is None:
            raise
        return replace(legacy, error=exc)
    hosting = AnchoredHosting(
        anchor, blueprint.runtime, bus_url=blueprint.bus_url, public_fd=anchor.public_fd
    )
    in_charge = standing.public is not None
    prepared: Prepared | None = None
    left: Legacy | None = None
    try:
        async with _bus(blueprint) as bus:
            prepared = await _prepare(blueprint, reporter, bus, hosting, anchor.public_url, standing, legacy)
            in_charge = True
            return await _conduct(blueprint, prepared)
    except* CoplaneError as errors:
        # Whatever failed because the anchor is gone; its socket tells a death from a loss of control.
        if not in_charge or blueprint.runtime.anchor_alive():
            raise
        hold_signals()
        left = _legacy(_first(errors), hosting, prepared, anchor.public_url)
    finally:
        if left is None:
            standing.close_doors()
        if in_charge:
            await anchor.shutdown(timeout_s=_anchor_bound_s(blueprint))
        else:
            # A takeover that fails leaves the backend as it was, for the next one to try.
            anchor.close()
    assert left is not None
    return left


def _legacy(
    error: CoplaneError, hosting: AnchoredHosting, prepared: Prepared | None, public_url: str
) -> Legacy:
    return Legacy(
        error,
        state=prepared.supervisor.state if prepared else None,
        remains=hosting.take_remains(),
        public_url=public_url,
        was_ready=prepared.launch.was_ready if prepared else False,
        stopping=prepared.supervisor.stop_asked.is_set() if prepared else False,
    )


# Both.


def _takes_over(blueprint: Blueprint) -> bool:
    return takes_over(
        blueprint.runtime,
        blueprint.settings,
        blueprint.mode,
        bus_url=blueprint.bus_url,
        timeout_s=_anchor_bound_s(blueprint),
    )


def _anchor_bound_s(blueprint: Blueprint) -> float:
    return stop_bound_s(blueprint.settings) + ANCHOR_MARGIN_S


def _run_loop(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_interruptible(work))


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Let signals cancel what comes before the launch listens to them by itself."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in stop_signals():
        loop.add_signal_handler(number, task.cancel)
    let_signals_in()
    try:
        return await work
    except asyncio.CancelledError:
        raise Interrupted("the launch was interrupted before it was ready") from None


def _anchor_options(blueprint: Blueprint, public: socket.socket) -> AnchorOptions:
    settings, runtime = blueprint.settings, blueprint.runtime
    return AnchorOptions(
        app=settings.app.name,
        home=str(runtime.home),
        project=str(runtime.project),
        sockets=str(runtime.sockets),
        preload=tuple(
            (name, spec.use.partition(":")[0]) for name, spec in settings.components.items() if spec.preload
        ),
        public_fd=public.fileno(),
        valkey=blueprint.embedded_bus,
        orphan_grace_s=settings.app.orphan_grace_s,
        stop_timeout_s=stop_bound_s(settings),
    )


def _bind_gateway(blueprint: Blueprint) -> socket.socket:
    gateway = blueprint.settings.gateway
    return bind_public(gateway.host, gateway.port)


@contextlib.asynccontextmanager
async def _bus(blueprint: Blueprint) -> AsyncIterator[Bus]:
    transport = await open_transport(blueprint.bus_url)
    try:
        await _until_answering(transport, blueprint)
        async with open_state(blueprint.settings.app.name, blueprint.bus_url) as state:
            yield Bus(transport, state)
    finally:
        await transport.close()


async def _until_answering(transport: StreamTransport, blueprint: Blueprint) -> None:
    """Wait for the bus: an embedded Valkey starts at the same time as everything else."""
    deadline_s = clock.now_s() + BUS_TIMEOUT_S
    while True:
        try:
            await transport.ping()
            return
        except BusError as exc:
            if clock.now_s() < deadline_s:
                await asyncio.sleep(BUS_PAUSE_S)
            elif blueprint.embedded_bus:
                raise LaunchError(
                    f"the embedded Valkey did not answer within {BUS_TIMEOUT_S:g} s",
                    why=exc.what,
                    fix=f"see {blueprint.runtime.logs / 'valkey.log'}",
                    code="E2011",
                ) from exc
            else:
                raise


async def _prepare(
    blueprint: Blueprint,
    reporter: LaunchReporter,
    bus: Bus,
    hosting: Hosting,
    gateway_url: str,
    standing: Standing,
    legacy: Legacy | None = None,
) -> Prepared:
    settings = blueprint.settings
    doors = standing.open_doors(blueprint.runtime, settings.control.host, settings.control.port)
    # A bus that was emptied counts from one again; the hosts that are there know how far we were.
    last_epoch = max(hosting.last_epoch, legacy.state.epoch if legacy and legacy.state else 0)
    epoch = max(await bus.state.increment(EPOCH_KEY), last_epoch + 1)
    identity = Identity(settings, blueprint.mode, epoch, NODE, gateway_url, doors.url, clock.now_s())
    supervisor = Supervisor(
        identity,
        state=initial_state(settings, blueprint.mode, epoch=epoch),
        transport=bus.transport,
        hosting=hosting,
    )
    launch = Launch(
        supervisor,
        runtime=blueprint.runtime,
        options=blueprint.options,
        reporter=reporter,
        stop_bound_s=stop_bound_s(settings),
        again=legacy is not None and legacy.was_ready,
    )
    return Prepared(supervisor, launch, doors)


async def _conduct(blueprint: Blueprint, prepared: Prepared) -> int:
    async with (
        serving(prepared.supervisor, blueprint.runtime, prepared.doors),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(prepared.supervisor.run())
        return await prepared.launch.conduct()


def stop_bound_s(settings: Settings) -> float:
    """Return how long a whole stop may take: the grace periods along the graph, and some for each level."""
    levels = order({name: spec.depends_on for name, spec in settings.components.items()})
    return sum(
        max(settings.components[name].grace_period_s for name in level) + LEVEL_MARGIN_S for level in levels
    )
