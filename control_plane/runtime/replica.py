"""One replica: a component's life from construction to shutdown, and the wall around its faults.

Everything the component runs lives in one task group inside one task. Whatever goes wrong in it
(constructor, startup, owned tasks, SystemExit) ends that task and is reported as a transition;
the host and its other replicas never see the exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from contracts.component import AsgiApp, Component, ComponentContext, ServesAsgi, WrapsAsgi
from contracts.errors import DECLARATION_CODES, ComponentError, CoplaneError, first_of
from contracts.specs import ReplicaSpec
from contracts.status import Health, ReplicaReport, ReplicaState
from control_plane.brokers import BusBroker
from control_plane.runtime import clock
from control_plane.runtime.component_app import ComponentApp
from control_plane.runtime.context import HostServices, ReplicaContext
from control_plane.runtime.declared_routes import declared_routes
from control_plane.runtime.endpoint_sources import note_sources
from control_plane.runtime.environment import declared
from control_plane.runtime.host_logging import current_replica
from control_plane.runtime.loading import Factory, load_factory, users_traceback, validated_config
from control_plane.runtime.mounts import Guard, WithoutPrefix
from control_plane.runtime.owned_tasks import OwnedTasks

log = logging.getLogger("coplane.replica")

FIRST_HEALTH_PAUSE_S = 0.02
CANCEL_TIMEOUT_S = 1.0
# Gateways elsewhere swap their tables within a few milliseconds of our word; a busy one sends on meanwhile.
QUIET_S = 0.05
QUIET_LIMIT_S = 1.0
LIVE = frozenset(
    {
        ReplicaState.STARTING,
        ReplicaState.READY,
        ReplicaState.DEGRADED,
        ReplicaState.DRAINING,
        ReplicaState.STOPPING,
    }
)
SERVING = frozenset({ReplicaState.READY, ReplicaState.DEGRADED})


@dataclass(frozen=True)
class Surroundings:
    """What a replica needs from its host."""

    services: HostServices
    make_broker: Callable[[ReplicaSpec], BusBroker]
    run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    changed: Callable[[Replica, ReplicaState], None]
    withdraw: Callable[[Replica], Coroutine[Any, Any, bool]]


@dataclass(frozen=True)
class _Instance:
    """What exists from construction to shutdown of one run."""

    component: Component
    broker: BusBroker
    guard: Guard
    tasks: OwnedTasks
    routes: tuple[str, ...]


class Replica:
    """Starts, checks, drains and stops one copy of a component; its host calls it, nobody else."""

    def __init__(self, spec: ReplicaSpec, surroundings: Surroundings) -> None:
        self.spec = spec
        self.id = spec.id
        self.component = spec.component.name
        self.state = ReplicaState.PENDING
        self._since = clock.utc_now()
        self.health: Health | None = None
        self.reason: str | None = None
        self.error: CoplaneError | None = None
        self.permanent = False
        self._around = surroundings
        self._factory: Factory | None = None
        self._instance: _Instance | None = None
        self._task: asyncio.Task[None] | None = None
        self._stop_asked = asyncio.Event()
        self._settled = asyncio.Event()
        self._startup: asyncio.Timeout | None = None
        self._finished = False
        self._grace_period_s = spec.component.grace_period_s
        self._started_s = 0.0

    # What others may know.

    @property
    def replica_id(self) -> str:
        """Return the id, by the name that the watchdog looks for."""
        return self.id

    @property
    def app(self) -> AsgiApp | None:
        """Return the component's application, without its prefix, as long as there is one.

        A draining one still answers; at last it refuses what is new so that another replica may have it.
        """
        return self._instance.guard if self._instance else None

    @property
    def serving(self) -> bool:
        """Tell whether the replica may get requests."""
        return self._instance is not None and self.state in SERVING

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Return the streams that the component consumes."""
        return tuple(stream for stream, _ in self._instance.broker.subscriptions) if self._instance else ()

    @property
    def routes(self) -> tuple[str, ...]:
        """Return the routes that the component declares, as `METHOD /path`."""
        return self._instance.routes if self._instance else ()

    def report(self) -> ReplicaReport:
        """Return the whole truth about this replica."""
        return ReplicaReport(
            component=self.component,
            replica=self.id,
            state=self.state,
            since=self._since,
            prefix=self.spec.component.address,
            uptime_s=round(clock.now_s() - self._started_s, 3) if self.state in LIVE else 0.0,
            health=self.health,
            reason=self.reason,
            error=self.error.as_dict() if self.error else None,
        )

    # What the host tells it.

    def load(self) -> bool:
        """Import the component; a failure is a permanent one. Return whether it is loaded."""
        named = current_replica.set(self.id)
        try:
            self._factory = load_factory(self.spec.component)
        except CoplaneError as exc:
            self._fail(exc, permanent=True)
            return False
        finally:
            current_replica.reset(named)
        return True

    def crash(self, why: str) -> None:
        """End the component as a crash, for a reason that nobody else meets."""

        async def fail() -> None:
            raise ComponentError(f"component '{self.component}': {why}", code="E5013")

        if self._instance is not None:
            self._instance.tasks.spawn(fail(), name="crash")

    async def start(self) -> None:
        """Start the component; return when it is ready, or failed."""
        if self.state in LIVE:
            return
        if self._factory is None and not self.load():
            return
        self._stop_asked.clear()
        self._settled.clear()
        self._task = self._around.run(self._live())
        await self._settled.wait()

    async def stop(self, *, grace_period_s: float) -> None:
        """Drain and shut down; after the grace period, cancel what is left."""
        task = self._task
        if task is None or task.done():
            if self.state is not ReplicaState.FAILED:
                self._change(ReplicaState.STOPPED)
            return
        self._grace_period_s = grace_period_s
        starting = self.state is ReplicaState.STARTING
        self._stop_asked.set()
        if starting:
            task.cancel()
        done, _ = await asyncio.wait({task}, timeout=grace_period_s)
        if not done:
            self.reason = f"cut off after its grace period of {grace_period_s:g} s"
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_TIMEOUT_S)

    async def check_health(self) -> None:
        """Ask the component how it is; ready and degraded follow the answer."""
        instance = self._instance
        if self.state not in SERVING or instance is None:
            return
        health = await self._ask_health(instance.component)
        if self.state in SERVING and self._instance is instance:  # and not one that came after it
            self.health = health
            good = self.health.status == "ok"
            self.reason = None if good else f"health: {self.health.status}"
            self._change(ReplicaState.READY if good else ReplicaState.DEGRADED)

    # One life.

    async def _live(self) -> None:
        current_replica.set(self.id)
        self._started_s = clock.now_s()
        self._finished = False
        self.health, self.reason, self.error, self.permanent = None, None, None, False
        self._change(ReplicaState.STARTING)
        try:
            async with asyncio.TaskGroup() as group:
                self._instance = self._construct(OwnedTasks(group, component=self.component, replica=self.id))
                try:
                    await self._run(self._instance)
                finally:
                    await self._close(self._instance)
                    self._instance = None
        except* CoplaneError as errors:
            self._fail(first_of(errors))
        except* (Exception, SystemExit) as errors:
            self._fail(self._fault("E5013", "crashed with", first_of(errors)))
        finally:
            if self.state is not ReplicaState.FAILED:
                self._change(ReplicaState.STOPPED)
            self._settled.set()

    async def _run(self, instance: _Instance) -> None:
        await self._start_up(instance)
        self._change(ReplicaState.READY)
        self._settled.set()
        await self._stop_asked.wait()
        await self._drain(instance)
        self._change(ReplicaState.STOPPING)
        instance.tasks.ending = True
        await self._shut_down(instance)

    def _finish(self) -> None:
        self.reason = "it has finished"
        self._finished = True
        self._stop_asked.set()
        if self._startup is not None:  # and is not waited for any more
            self._startup.reschedule(asyncio.get_running_loop().time())

    def _construct(self, tasks: OwnedTasks) -> _Instance:
        assert self._factory is not None
        config = validated_config(self._factory, self.spec.component)
        broker = self._around.make_broker(self.spec)
        context = ReplicaContext(
            name=self.component,
            replica_id=self.id,
            config=config,
            broker=broker,
            services=self._around.services,
            tasks=tasks,
            environment=declared(self.spec.component),
            finish=self._finish,
        )
        try:
            component = self._factory(context)
            app = _build_app(component, context)
            declaring = component.application if isinstance(component, WrapsAsgi) else app
            note_sources(declaring)
            routes = declared_routes(declaring, self.spec.component.address)
            app = WithoutPrefix(app) if self.spec.component.strip_prefix else app
        except CoplaneError:
            raise
        except (Exception, SystemExit) as exc:
            raise self._fault("E5002", "its constructor raised", exc) from exc
        guard = Guard(app, component=self.component, replica=self.id, on_error=self._route_failed)
        return _Instance(component, broker, guard, tasks, routes)

    async def _start_up(self, instance: _Instance) -> None:
        timeout_s = self.spec.component.startup_timeout_s
        try:
            async with asyncio.timeout(timeout_s) as self._startup:
                await self._user_startup(instance.component)
                await instance.broker.start()
                await self._first_health(instance.component)
        except TimeoutError as exc:
            if self._finished:
                return
            last = (
                f"its last health answer was '{self.health.status}'"
                if self.health
                else "it gave no health answer"
            )
            raise ComponentError(
                f"component '{self.component}' was not ready within {timeout_s:g} s",
                why=last,
                fix="raise `startup_timeout_s`, or see its log",
                code="E5004",
            ) from exc
        finally:
            self._startup = None

    async def _user_startup(self, component: Component) -> None:
        try:
            await component.startup()
        except CoplaneError:
            raise
        except (Exception, SystemExit) as exc:
            raise self._fault("E5003", "startup raised", exc) from exc

    async def _first_health(self, component: Component) -> None:
        pause_s = FIRST_HEALTH_PAUSE_S
        while True:
            self.health = await self._ask_health(component)
            if self.health.status == "ok":
                self.reason = self.reason if self._finished else None
                return
            self.reason = f"health: {self.health.status}"
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self.spec.component.health.interval_s)

    async def _ask_health(self, component: Component) -> Health:
        timeout_s = self.spec.component.health.timeout_s
        began_s = time.perf_counter()
        detail: dict[str, Any] = {}
        try:
            answer: Any = component.health_check()
            if inspect.isawaitable(answer):
                async with asyncio.timeout(timeout_s):
                    answer = await answer
            # Whatever JSON cannot say becomes text here, where a fault is still the component's own.
            detail = to_jsonable_python(dict(answer or {}), serialize_unknown=True)
            status = str(detail.pop("status", "ok"))
        except TimeoutError:
            status = f"no answer within {timeout_s:g} s"
        except (Exception, SystemExit) as exc:
            status = f"raised {type(exc).__name__}: {exc}"
        latency_ms = round((time.perf_counter() - began_s) * 1000, 3)
        return Health(status=status, latency_ms=latency_ms, checked_at=clock.utc_now(), detail=detail)

    async def _drain(self, instance: _Instance) -> None:
        self._change(ReplicaState.DRAINING)
        instance.guard.close_streams()
        timeout_s = self._grace_period_s
        await asyncio.gather(
            self._finish_requests(instance.guard, timeout_s), instance.broker.drain(timeout_s)
        )

    async def _finish_requests(self, guard: Guard, timeout_s: float) -> None:
        """Answer until nobody sends anything any more; only then refuse what still comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                if await self._around.withdraw(self):
                    await guard.wait_quiet(QUIET_S, limit_s=QUIET_LIMIT_S)
                guard.drain()
                await guard.wait_idle(timeout_s)

    async def _shut_down(self, instance: _Instance) -> None:
        try:
            await instance.component.shutdown()
        except (Exception, SystemExit) as exc:
            fault = self._fault("E5008", "shutdown raised", exc)
            self.reason = str(fault)
            log.warning("replica.shutdown_failed", extra={"error": str(fault), "detail": fault.detail})

    async def _close(self, instance: _Instance) -> None:
        instance.guard.drain()
        await instance.broker.stop()
        instance.tasks.cancel()

    # How its state is told.

    def _change(self, to_state: ReplicaState) -> None:
        if to_state is self.state:
            return
        from_state, self.state = self.state, to_state
        self._since = clock.utc_now()
        self._around.changed(self, from_state)

    def _fail(self, error: CoplaneError, *, permanent: bool = False) -> None:
        self.error = error
        self.reason = f"{error.code} {error.what}"
        self.permanent = permanent or error.code in DECLARATION_CODES
        log.error("replica.failed", extra={"error": str(error), "detail": error.detail})
        self._change(ReplicaState.FAILED)

    def _fault(self, code: str, did: str, exc: BaseException) -> ComponentError:
        return ComponentError(
            f"component '{self.component}': {did} {type(exc).__name__}: {exc}",
            code=code,
            detail=users_traceback(exc),
        )

    def _route_failed(self, _component: str, exc: BaseException) -> None:
        fault = self._fault("E5006", "a route raised", exc)
        log.error("route.failed", extra={"error": fault.what, "detail": fault.detail})


def _build_app(component: Component, context: ComponentContext) -> AsgiApp:
    if isinstance(component, ServesAsgi):
        return component.get_asgi_app()
    router = component.get_routes()
    return ComponentApp(router, title=context.name, component=component, context=context)
