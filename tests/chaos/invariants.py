"""What must be true after a run, whatever went wrong in it. Each returns what speaks against it."""

from __future__ import annotations

import contextlib
from math import inf
from typing import Any

import psutil

from tests.chaos.record import Injected, Run, slow_recoveries, unexcused
from tests.chaos.stage import Stage, replicas

EVIDENCE = 20
PREFIX = "novel:state:story:"


def stories_finished_once(run: Run) -> list[str]:
    """Return each story that was not accepted, or did not finish once with the right bytes.

    Those that were under way when the bus was emptied do not count.
    """
    return [
        f"{story.key} {story.location}, accepted at {story.accepted_s:.1f} s: "
        + (story.problem or "not finished")
        + _near(run, story.asked_s, min(story.ended_s, run.duration_s))
        for story in run.stories
        if story.finished_s == inf and not run.was_emptied(story)
    ]


def requests_answered(run: Run) -> list[str]:
    """Return each failed request to a component that no fault touched."""
    return [
        f"{one.kind} of {one.component}, sent at {one.sent_s:.2f} s, failed at {one.ended_s:.2f} s: "
        + one.failure
        + _near(run, one.sent_s, one.ended_s)
        for one in unexcused(run)
    ]


def state_converged(run: Run) -> list[str]:
    """Return each fault after which the state took more than 10 s to converge."""
    return slow_recoveries(run)


async def no_story_doubled(run: Run, stage: Stage) -> list[str]:
    """Return each story in shared state that no reader asked for."""
    known = {story.location.rpartition("/")[2] for story in run.stories}
    async with stage.bus() as client:
        keys = [key async for key in client.scan_iter(f"{PREFIX}*", count=1000)]
    stored = {key.removeprefix(PREFIX).partition(":")[0] for key in keys}
    return [f"story {story_id} is nobody's" for story_id in sorted(stored - known)]


async def ledgers_add_up(run: Run, stage: Stage) -> list[str]:
    """Return each ledger that does not add up, has something left, or dead where nothing was emptied."""
    return [_told(one) for one in await stage.ledgers() if not is_settled(run, one)]


def is_settled(run: Run, ledger: dict[str, Any]) -> bool:
    """Tell whether a ledger adds up, with nothing left; messages of stories that were emptied may be dead."""
    emptied = run.flushed_s > -inf
    return bool(ledger["adds_up"] and not ledger["left"] and (emptied or not ledger["dead"]))


async def no_orphan(stage: Stage) -> list[str]:
    """Return each process of ours that is no launch, anchor, bus, image or host, nor below these."""
    status = await stage.status()
    if status is None:
        return ["no control plane answers"]
    anchor = stage.anchor_pid(status)
    ours = {*_pids(status), *_images(anchor)}
    roots = {stage.launch_pid, anchor, stage.bus_pid(), *ours}
    return [
        f"process {process.pid}: {' '.join(process.cmdline())[:200]}"
        for process in stage.novel.processes()
        if process.pid not in roots and not _below(process, ours)
    ]


def _images(anchor: int | None) -> list[int]:
    """Return the processes that hosts are forked from."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(anchor).children() if anchor else []
        return [child.pid for child in children if child.name() == "ctl-image"]
    return []


def _pids(status: dict[str, Any]) -> list[int]:
    return [replica["pid"] for replica in replicas(status)]


def _below(process: psutil.Process, hosts: set[int]) -> bool:
    try:
        return any(parent.pid in hosts for parent in process.parents())
    except psutil.NoSuchProcess:
        return True


def _told(ledger: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in ledger.items())


def _near(run: Run, from_s: float, until_s: float) -> str:
    return "\n" + "\n".join([told(one) for one in run.near(from_s, until_s)] or ["    no fault was near"])


def told(injected: Injected) -> str:
    """Return what became of a fault, on a line."""
    times = f"{injected.began_s:.2f} s to {injected.ended_s:.2f} s, converged at {injected.recovered_s:.2f} s"
    return f"    {injected.fault}: {times} ({injected.note[:300]})"
