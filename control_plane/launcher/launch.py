"""One launch from the first host to the last: until ready, until told to stop, until stopped.

Knows nothing of modes. Signals: the first asks for a stop, a second one forces it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from contracts.errors import DECLARATION_CODES, CoplaneError, ExitCode, LaunchError, NotReadyInTime
from contracts.status import ComponentStatus, ReplicaState, ReplicaStatus, StopReport
from control_plane.launch_options import LaunchOptions, LaunchReporter
from control_plane.launcher.signals import Ending
from control_plane.logs import LogReader
from control_plane.runtime import clock
from control_plane.runtime.paths import RuntimeDir
from control_plane.supervisor import Supervisor

log = logging.getLogger("coplane.launch")


class Interrupted(LaunchError):
    """The user interrupted a launch: before it was ready, or what remained of one that had failed."""

    code = "E2012"
    exit_code = ExitCode.INTERRUPTED


class Launch:
    """Conducts a supervisor through a launch and tells the reporter of it.

    `again`: the backend has been ready before, and is to get ready once more after its anchor died. What
    would refuse a launch (a wrong declaration, a deadline that passed) does not end one that has run.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        runtime: RuntimeDir,
        options: LaunchOptions,
        reporter: LaunchReporter,
        stop_bound_s: float,
        again: bool = False,
    ) -> None:
        self._supervisor = supervisor
        self._runtime = runtime
        self._options = options
        self._reporter = reporter
        self._stop_bound_s = stop_bound_s
        self.was_ready = again
        self._again = again
        self._ending = Ending()
        self._began_s = clock.now_s()
        self._announced_failures: set[str] = set()

    @property
    def interrupted(self) -> bool:
        """Tell whether a signal asked for the end."""
        return self._ending.asked.is_set()

    async def conduct(self) -> int:
        """Wait until ready, then until somebody asks for a stop, then stop.

        Returns:
            The exit code.

        Raises:
            LaunchError: the launch did not come about; everything is stopped again.
        """
        ending = self._ending
        failure: CoplaneError | None = None
        with ending.on_signals():
            try:
                await self._until_settled(ending)
                await self._until_asked(ending)
            except CoplaneError as exc:
                failure = exc
            self._reporter.stopping("the launch failed" if failure else ending.reason or "ctl stop")
            report = await self._stop(ending)
            self._reporter.stopped(report)
        if failure is not None:
            raise failure
        if ending.forced.is_set():
            return ExitCode.INTERRUPTED
        return ExitCode.DONE if report.ok else ExitCode.FAILED

    # Until ready.

    async def _until_settled(self, ending: Ending) -> None:
        try:
            async with asyncio.timeout(None if self._again else self._options.timeout_s):
                await _first_of(self._watch_progress(), ending.asked.wait())
        except TimeoutError as exc:
            raise self._not_ready() from exc
        if ending.asked.is_set() and not self.was_ready:
            raise Interrupted("the launch was interrupted before it was ready")

    async def _watch_progress(self) -> None:
        async for status in self._supervisor.changes():
            self._reporter.progress(status, self._elapsed_s())
            for component in status.components:
                if component.state is ReplicaState.FAILED:
                    self._component_failed(component)
            if self._supervisor.settled:
                self.was_ready = True
                self._reporter.ready(status, self._elapsed_s())
                return

    def _component_failed(self, component: ComponentStatus) -> None:
        if component.name in self._announced_failures:
            return
        self._announced_failures.add(component.name)
        error = self._supervisor.error_of(component.name)
        if error.code in DECLARATION_CODES and not self._again:
            raise error
        if self._supervisor.is_essential(component.name):
            raise LaunchError(
                f"the essential component '{component.name}' failed",
                why=str(error),
                fix=f"see {self._log_of(component.name)}",
                code="E2009",
                detail=error.detail,
            )
        self._reporter.component_failed(component.name, error.as_dict())

    def _not_ready(self) -> NotReadyInTime:
        waiting = [
            (component, replica)
            for component in self._supervisor.status().components
            for replica in component.replicas
            if replica.state is not ReplicaState.READY
        ]
        return NotReadyInTime(
            f"not ready after {self._options.timeout_s:g} s: "
            + "; ".join(self._describe(component, replica) for component, replica in waiting),
            fix="raise --timeout, or see " + ", ".join(sorted({self._log_of(c.name) for c, _ in waiting})),
        )

    def _describe(self, component: ComponentStatus, replica: ReplicaStatus) -> str:
        health = f"last health answer '{replica.health.status}'" if replica.health else "no health answer yet"
        if replica.state is ReplicaState.PENDING and component.depends_on:
            return f"{replica.id} waits for {', '.join(component.depends_on)}"
        return f"{replica.id} is {replica.state} ({health})"

    def _log_of(self, component: str) -> str:
        return str(self._runtime.logs / f"{component}-1.log")

    def _elapsed_s(self) -> float:
        return clock.now_s() - self._began_s

    # Until stopped.

    async def _until_asked(self, ending: Ending) -> None:
        await _first_of(self._follow_logs(), ending.asked.wait(), self._supervisor.stop_asked.wait())

    async def _follow_logs(self) -> None:
        if self._options.follow_logs:
            async for line in LogReader(self._runtime.logs).follow():
                self._reporter.log(line)
        await asyncio.Event().wait()

    async def _stop(self, ending: Ending) -> StopReport:
        async with asyncio.TaskGroup() as tasks:
            stopping = tasks.create_task(self._supervisor.stop())
            watching = tasks.create_task(self._report_stop_progress())
            forcing = tasks.create_task(self._force_when_asked(ending))
            await asyncio.wait({stopping})
            watching.cancel()
            forcing.cancel()
        return stopping.result()

    async def _report_stop_progress(self) -> None:
        async for status in self._supervisor.changes():
            self._reporter.stop_progress(status)

    async def _force_when_asked(self, ending: Ending) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._stop_bound_s):
                await ending.forced.wait()
        await self._supervisor.kill_hosts()


async def _first_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first to end, cancel the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
