"""One run of chaos: a backend, its clients, the faults of a schedule, and what holds afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import aiohttp
from redis.exceptions import RedisError

from tests.chaos import invariants
from tests.chaos.faults import Saboteur
from tests.chaos.load import Load, client
from tests.chaos.record import Injected, Run
from tests.chaos.schedule import Fault
from tests.chaos.stage import Stage
from tests.chaos.stories import Readers
from tests.support.wait import eventually

LOOK_EVERY_S = 0.1
AFTERWARDS_S = 3.0  # for stories that nothing has happened to any more
CALM_S = 60.0  # for what was accepted to be finished, after the last fault
SETTLES_WITHIN_S = 20.0


@dataclass
class Outcome:
    """What a run came to: invariants by name, each with what speaks against it."""

    run: Run
    violations: dict[str, list[str]] = field(default_factory=dict)
    logs: Path | None = None

    @property
    def held(self) -> bool:
        """Tell whether every invariant holds."""
        return not any(self.violations.values())

    def explain(self) -> str:
        """Return all that is needed to look into a failed run, what explains the rest first."""
        told = [f"seed {self.run.seed}, logs in {self.logs}"]
        for name, evidence in self.violations.items():
            if evidence:
                told += [f"not held: {name}, {len(evidence)} times", *evidence[: invariants.EVIDENCE]]
        return "\n".join(
            (*told, "the schedule, as it was carried out:", *map(invariants.told, self.run.injected))
        )


class Driver:
    """Runs one schedule."""

    def __init__(self, stage: Stage, run: Run) -> None:
        self._stage = stage
        self._run = run
        self._began_s = time.monotonic()
        self._saboteur = Saboteur(stage, now_s=self.now_s)

    def now_s(self) -> float:
        """Return the seconds since the beginning of the run."""
        return time.monotonic() - self._began_s

    async def run(self) -> dict[str, list[str]]:
        """Let everything happen; return what speaks against each invariant."""
        async with client(self._stage.url) as session:
            load = Load(session, self._run.requests.append, now_s=self.now_s)
            readers = Readers(
                session, self._run.requests.append, now_s=self.now_s, flushed_s=lambda: self._run.flushed_s
            )
            self._run.stories = readers.stories
            async with asyncio.TaskGroup() as tasks:
                background = [tasks.create_task(load.run()), tasks.create_task(self._watch())]
                reading = tasks.create_task(readers.run())
                await self._inject(readers)
                await self._until_converged()
                await asyncio.sleep(AFTERWARDS_S)
                readers.closed.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CALM_S):
                        await asyncio.shield(reading)
                for task in (reading, *background):
                    task.cancel()
        self._run.duration_s = self.now_s()
        return await self._check()

    # Faults.

    async def _inject(self, readers: Readers) -> None:
        async with asyncio.TaskGroup() as tasks:
            for fault in self._run.schedule:
                await asyncio.sleep(fault.at_s - self.now_s())
                tasks.create_task(self._carry_out(fault, readers))

    async def _carry_out(self, fault: Fault, readers: Readers) -> None:
        injected = Injected(fault, self.now_s())
        self._run.injected.append(injected)
        try:
            await self._saboteur.carry_out(fault, injected)
        except AssertionError as exc:
            injected.note += f"; {exc}"
            self._run.remarks.append(f"{fault} could not be carried out: {exc}")
        injected.ended_s = min(injected.ended_s, self.now_s())
        if self._run.flushed_s < inf:
            readers.give_up()

    async def _watch(self) -> None:
        """Note when the state has converged, and launches that end by themselves."""
        while True:
            if ended := self._stage.deserted:
                self._run.remarks.append(f"at {self.now_s():.1f} s the launch ended by itself: {ended}")
                self._stage.launch()
            asked_s = self.now_s()
            if not await self._stage.unsettled():
                for one in self._run.injected:
                    if one.ended_s <= asked_s and one.recovered_s == inf:
                        one.recovered_s = self.now_s()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _until_converged(self) -> None:
        with contextlib.suppress(AssertionError):  # an invariant tells
            await eventually(self._all_recovered, CALM_S, every_s=LOOK_EVERY_S)

    def _all_recovered(self) -> bool:
        return all(one.recovered_s < inf for one in self._run.injected)

    # Afterwards.

    async def _check(self) -> dict[str, list[str]]:
        run, stage = self._run, self._stage
        return {
            # What is checked first is what explains the rest.
            "every fault could be carried out, and no launch ended": run.remarks,
            "the state converges within 10 s": invariants.state_converged(run),
            "no request to an unaffected component fails": invariants.requests_answered(run),
            "every accepted story finishes once, with the right bytes": invariants.stories_finished_once(run),
            "no story is there twice": await _asked(invariants.no_story_doubled(run, stage)),
            "every ledger adds up": await _asked(self._until_settled()),
            "there is no orphan": await _asked(invariants.no_orphan(stage)),
            "the backend stops in order and leaves nothing": await asyncio.to_thread(self._stop),
        }

    async def _until_settled(self) -> list[str]:
        """Return what speaks against the ledgers once everything that is left has been handled."""
        wrong: list[str] = []

        async def settled() -> bool:
            wrong[:] = await invariants.ledgers_add_up(self._run, self._stage)
            return not wrong

        with contextlib.suppress(AssertionError):
            await eventually(settled, SETTLES_WITHIN_S, every_s=0.5)
        return wrong

    def _stop(self) -> list[str]:
        novel = self._stage.novel
        try:
            code: object = novel.interrupt()
        except subprocess.TimeoutExpired as exc:
            code = exc
        if code != 0:
            return [f"ended with {code}: {novel.output[-2000:]}"]
        try:
            novel.assert_nothing_left()
        except AssertionError as exc:
            return [str(exc)]
        return []


async def _asked(check: Awaitable[list[str]]) -> list[str]:
    """Return what a check finds; one that cannot be made speaks against what it would have shown."""
    try:
        return await check
    except (RedisError, aiohttp.ClientError, OSError) as exc:
        return [repr(exc)]


async def run_chaos(seed: int, schedule: Sequence[Fault]) -> Outcome:
    """Run a schedule against a backend of its own; the logs are kept if an invariant does not hold."""
    run = Run(seed, tuple(schedule))
    outcome = Outcome(run)
    with tempfile.TemporaryDirectory(prefix="ctl-chaos-") as folder:
        async with Stage(Path(folder)).opened() as stage:
            try:
                outcome.violations = await Driver(stage, run).run()
            finally:
                if not outcome.violations or not outcome.held:
                    outcome.logs = _keep_logs(stage, seed)
    return outcome


def _keep_logs(stage: Stage, seed: int) -> Path:
    kept = Path(tempfile.mkdtemp(prefix=f"ctl-chaos-seed-{seed}-"))
    home = stage.novel.home
    shutil.copytree(home / "logs", kept / "logs", dirs_exist_ok=True)
    for printed in home.glob("*.txt"):
        shutil.copy(printed, kept)
    return kept
