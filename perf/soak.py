"""Keeps the demo backend in multi mode under load, and watches whether anything grows.

    python -m perf.soak [--minutes 20] [--every-s 5]

Samples memory (PSS), file descriptors and asyncio tasks of every process, and the length of every stream.
Writes `perf/reports/soak.md`, `soak.json`, and a plot of each. Fails if something grew beyond its bound
(`perf/growth.py`), if a request failed, or if a story did not finish once with the right bytes.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

from perf.counted import counting
from perf.figures import machine
from perf.soak_report import Samples, judge, write_report
from tests.chaos.load import Load, client
from tests.chaos.record import Request
from tests.chaos.stage import Stage, replicas
from tests.chaos.stories import Readers

STORIES_PER_S = 2.0


class Soak:
    """One run: the load, and who watches."""

    def __init__(self, stage: Stage, *, duration_s: float, every_s: float) -> None:
        self._stage = stage
        self._duration_s = duration_s
        self._every_s = every_s
        self._began_s = time.monotonic()
        self.asked = 0
        self.failures: list[Request] = []
        self.stories = 0
        self.unlike: list[str] = []
        self.samples: Samples = defaultdict(lambda: defaultdict(list))

    def now_s(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began_s

    def note(self, request: Request) -> None:
        """Count a request; only failures are kept, for this process is watched by nobody."""
        self.asked += 1
        if request.failure:
            self.failures.append(request)

    async def run(self) -> None:
        """Load and watch until the time is over and every story has come to its end."""
        async with client(self._stage.url) as session, asyncio.TaskGroup() as tasks:
            load = tasks.create_task(Load(session, self.note, now_s=self.now_s).run())
            readers = Readers(
                session,
                self.note,
                now_s=self.now_s,
                flushed_s=lambda: -1.0,
                per_s=STORIES_PER_S,
            )
            reading = tasks.create_task(readers.run())
            while self.now_s() < self._duration_s:
                await self._sample()
                await self._clear_away(readers)
                await asyncio.sleep(self._every_s)
            readers.closed.set()
            await reading
            await self._clear_away(readers)
            load.cancel()

    async def _clear_away(self, readers: Readers) -> None:
        """Delete what is told of stories that are read: the demo itself never deletes one."""
        done = readers.take_done()
        self.stories += len(done)
        self.unlike += [f"{story.key}: {story.problem}" for story in done if story.problem]
        ids = [story.location.rpartition("/")[2] for story in done]
        async with self._stage.bus() as bus:
            for story_id in ids:
                name = f"novel:state:story:{story_id}"
                await bus.delete(name, f"{name}:parts", f"{name}:steps", f"{name}:text")

    # Samples.

    async def _sample(self) -> None:
        at_min = self.now_s() / 60
        status = await self._stage.status()
        if status is None:
            return
        names = {r["pid"]: r["id"] for r in replicas(status)}
        names |= {
            self._stage.launch_pid: "control plane",
            self._stage.anchor_pid(status) or 0: "anchor",
            self._stage.bus_pid() or 0: "valkey",
        }
        for name, memory_bytes, descriptors in await asyncio.to_thread(self._processes, names):
            self.samples["memory"][name].append((at_min, memory_bytes))
            self.samples["descriptors"][name].append((at_min, descriptors))
        for replica in replicas(status):
            tasks = (replica["health"] or {}).get("detail", {}).get("tasks")
            if tasks is not None:
                self.samples["tasks"][replica["id"]].append((at_min, tasks))
        await self._sample_streams(at_min)

    def _processes(self, names: dict[int, str]) -> list[tuple[str, float, float]]:
        found: list[tuple[str, float, float]] = []
        workers = [0.0, 0.0]
        for process in self._stage.novel.processes():
            try:
                figures = float(process.memory_full_info().pss), float(process.num_fds())
            except psutil.Error:
                continue
            if process.pid in names:
                found.append((names[process.pid], *figures))
            else:
                workers = [sum(pair) for pair in zip(workers, figures, strict=True)]
        return [*found, ("workers", workers[0], workers[1])]

    async def _sample_streams(self, at_min: float) -> None:
        async with self._stage.bus() as bus:
            async for key in bus.scan_iter("novel:*", count=1000, _type="stream"):
                self.samples["streams"][key].append((at_min, await bus.xlen(key)))


async def soak_once(*, minutes: float, every_s: float) -> tuple[Soak, str]:
    """Run once; return what was seen, and why the backend did not stop in order, if so."""
    with tempfile.TemporaryDirectory(prefix="ctl-soak-") as folder:
        async with Stage(Path(folder), adapt=counting).opened() as stage:
            soak = Soak(stage, duration_s=60 * minutes, every_s=every_s)
            await soak.run()
            code = await asyncio.to_thread(stage.novel.interrupt)
            return soak, "" if code == 0 else f"exit code {code}: {stage.novel.output[-1000:]}"


def main() -> int:
    """Run, write the report, fail if anything grew or failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--every-s", type=float, default=5.0)
    args = parser.parse_args()
    # Whoever ends us gets everything cleaned up, as with Ctrl+C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    soak, ending = asyncio.run(soak_once(minutes=args.minutes, every_s=args.every_s))
    grown = judge(soak.samples)
    figures = {
        "machine": machine(),
        "minutes": round(soak.now_s() / 60, 1),
        "requests": soak.asked,
        "failed": [str(one) for one in soak.failures],
        "stories": soak.stories,
        "stories not as they should be": soak.unlike,
    }
    print(write_report(figures, soak.samples, grown))
    beyond = [one for all_ in grown.values() for one in all_ if not one.within]
    for problem in (*beyond, *soak.failures[:20], *soak.unlike[:20], *filter(None, [ending])):
        print(problem, file=sys.stderr)
    return int(bool(beyond or soak.failures or soak.unlike or ending))


if __name__ == "__main__":
    sys.exit(main())
