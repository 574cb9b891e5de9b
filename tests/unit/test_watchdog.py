"""What blocks an event loop is found and named, and nothing else is."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from starlette.middleware.errors import ServerErrorMiddleware

from contracts.messages import LoopBlocked
from contracts.specs import ComponentSpec, HostSpec, Mode, ReplicaSpec
from control_plane.runtime import watchdog
from control_plane.runtime.culprits import Culprits, Place
from control_plane.runtime.host_logging import ReplicaFiles
from control_plane.runtime.loop_blocks import SAME_LINE_PAUSE_S, LoopBlocks
from control_plane.runtime.mounts import Guard
from control_plane.runtime.owned_tasks import OwnedTasks
from control_plane.runtime.watchdog import COMPUTING_SHARE, THREAD_NAME, Block, Watchdog
from tests.support.wait import eventually, wait_until

HERE = f"{__name__}:x"
BLOCK_S = 0.8  # found for certain, with a margin for a loaded machine

Work = Coroutine[Any, Any, None]
NewLoop = Callable[[], asyncio.AbstractEventLoop]

each_loop = pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])


def replica(replica_id: str, use: str) -> ReplicaSpec:
    return ReplicaSpec(id=replica_id, component=ComponentSpec(name=replica_id.rpartition("-")[0], use=use))


class Watched:
    """What a watchdog told."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.still: list[tuple[Block, str, float]] = []

    def still_blocked(self, block: Block) -> None:
        self.still.append((block, threading.current_thread().name, time.monotonic()))


@asynccontextmanager
async def watching(*replicas: ReplicaSpec) -> AsyncIterator[Watched]:
    """Watch the running loop."""
    told = Watched()
    culprits = Culprits(lambda: replicas, project=str(Path(__file__).parents[2]))
    dog = Watchdog(culprits, blocked=told.blocks.append, still_blocked=told.still_blocked)
    dog.start()
    try:
        yield told
    finally:
        dog.stop()
    await asyncio.sleep(0)  # what the stop concluded comes through the loop


def run(new_loop: NewLoop, work: Work) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work)


def sleeps() -> None:
    time.sleep(BLOCK_S)


def computes() -> None:
    end_s = time.monotonic() + BLOCK_S
    while time.monotonic() < end_s:
        sum(range(1000))


def computes_in_c() -> None:
    """Hold the interpreter lock in one call of C code."""
    length, took_s = 1_000_000, 0.0
    while took_s < BLOCK_S:
        length = int(length * min(20.0, max(1.5, BLOCK_S * 1.3 / max(took_s, 0.001))))
        began_s = time.monotonic()
        sum(range(length))
        took_s = time.monotonic() - began_s


async def until_told(told: Watched, block: Callable[[], None]) -> None:
    """Block once; again only where a full machine did not let the watchdog run at all."""
    for _ in range(5):
        await asyncio.create_task(step(block))
        with suppress(AssertionError):
            await eventually(lambda: told.blocks, 1.0)
            return
    raise AssertionError("blocked five times, and never told")


async def step(block: Callable[[], None]) -> None:
    block()


class TestWhatIsFound:
    @each_loop
    @pytest.mark.parametrize("block", [sleeps, computes, computes_in_c])
    def test_a_task_that_blocks_is_named_with_its_line(
        self, new_loop: NewLoop, block: Callable[[], None]
    ) -> None:
        async def main() -> None:
            async with watching() as told:
                await until_told(told, block)
            found = told.blocks[-1]
            assert found.place.culprit.startswith("tests/unit/test_watchdog.py:")
            assert found.place.culprit.endswith(f" in {block.__name__}")
            assert found.duration_s >= watchdog.BLOCK_THRESHOLD_S
            assert (found.cpu_s >= found.duration_s * COMPUTING_SHARE) is (block is not sleeps)

        run(new_loop, main())

    @each_loop
    def test_a_callback_that_blocks_is_named_too(self, new_loop: NewLoop) -> None:
        async def main() -> None:
            async with watching() as told:
                asyncio.get_running_loop().call_later(0.01, sleeps)
                await eventually(lambda: told.blocks)
            assert told.blocks[0].place.culprit.endswith(" in sleeps")
            assert BLOCK_S - watchdog.IDLE_TICK_S - 0.2 <= told.blocks[0].duration_s <= BLOCK_S + 0.3

        run(new_loop, main())

    @each_loop
    def test_what_blocks_until_the_watchdog_is_stopped_is_told(self, new_loop: NewLoop) -> None:
        async def main() -> None:
            async with watching() as told:
                sleeps()
            assert [block.place.culprit.endswith(" in sleeps") for block in told.blocks] == [True]

        run(new_loop, main())

    def test_a_long_block_is_told_while_it_lasts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its host may be killed for its silence before the loop turns again."""
        monkeypatch.setattr(watchdog, "LONG_BLOCK_S", 0.3)

        async def main() -> None:
            async with watching() as told:
                sleeps()
                over_s = time.monotonic()
                await eventually(lambda: told.blocks)
            [(block, thread, at_s)] = told.still
            assert thread == THREAD_NAME
            assert at_s < over_s
            assert block.place.culprit.endswith(" in sleeps")

        run(uvloop.new_event_loop, main())


class TestWhatIsNoBlock:
    @each_loop
    def test_a_loop_busy_with_many_short_callbacks(self, new_loop: NewLoop) -> None:
        async def main() -> None:
            async with watching() as told:
                await asyncio.gather(*(short_steps() for _ in range(5)))
            assert told.blocks == []

        async def short_steps() -> None:
            end_s = time.monotonic() + 1.0
            while time.monotonic() < end_s:
                short()
                await asyncio.sleep(0)

        run(new_loop, main())

    @each_loop
    def test_one_long_turn_of_many_short_callbacks(self, new_loop: NewLoop) -> None:
        async def main() -> None:
            async with watching() as told:
                for _ in range(500):
                    asyncio.get_running_loop().call_soon(short)
                await asyncio.sleep(0)
            assert told.blocks == []

        run(new_loop, main())

    @each_loop
    def test_a_loop_that_waits(self, new_loop: NewLoop) -> None:
        async def main() -> None:
            async with watching() as told:
                await asyncio.sleep(1.0)
                await asyncio.to_thread(sleeps)
            assert told.blocks == []

        run(new_loop, main())

    def test_a_process_that_was_paused(self) -> None:
        """An operator's SIGSTOP, or a machine that slept, is nobody's fault."""
        code = "from tests.unit import test_watchdog; test_watchdog.busy_until_told()"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"watching\n"
            child.send_signal(signal.SIGSTOP)
            time.sleep(1.0)  # what is measured: there is nothing to wait for
            child.send_signal(signal.SIGCONT)
            told, _ = child.communicate(b"\n", timeout=20)
        assert told == b"[]\n"


def busy_until_told() -> None:
    """Be a process that works in short steps for half a second, and again after a line came in."""

    async def main() -> None:
        async with watching() as told:
            await some_steps()
            print("watching", flush=True)
            line = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
            while not line.done():
                await some_steps()
        print(told.blocks, flush=True)

    async def some_steps() -> None:
        for _ in range(100):
            short()
            await asyncio.sleep(0.002)

    run(uvloop.new_event_loop, main())


def short() -> None:
    end_s = time.monotonic() + 0.002
    while time.monotonic() < end_s:
        pass


class TestTheThread:
    def test_ends_when_stopped(self) -> None:
        async def main() -> None:
            async with watching():
                assert THREAD_NAME in thread_names()

        run(uvloop.new_event_loop, main())
        wait_until(lambda: THREAD_NAME not in thread_names())

    @each_loop
    def test_ends_with_its_loop_when_nobody_stops_it(self, new_loop: NewLoop) -> None:
        async def main() -> None:
            nobody = Culprits(lambda: (), project="")
            Watchdog(nobody, blocked=print, still_blocked=print).start()

        run(new_loop, main())
        wait_until(lambda: THREAD_NAME not in thread_names())


def thread_names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


class TestWhoseItIs:
    """One host with replicas of three components; `writer` and `clerk` share no module, `twin` does."""

    HERE = (replica("writer-1", HERE), replica("writer-2", HERE))
    OTHERS = (replica("clerk-1", "tests.support.samples:Good"), replica("ext-1", "json.decoder:x"))

    def told(self, work: Callable[[], Work], *replicas: ReplicaSpec) -> Place:
        async def main() -> None:
            async with watching(*replicas) as told:
                await work()
                await eventually(lambda: told.blocks)
            blocks.extend(told.blocks)

        blocks: list[Block] = []
        run(uvloop.new_event_loop, main())
        return blocks[-1].place

    def test_a_request_is_the_replica_of_its_guard(self) -> None:
        async def app(*_: Any) -> None:
            sleeps()
            raise RuntimeError("enough")

        async def work() -> None:
            guard = Guard(app, component="writer", replica="writer-2", on_error=lambda *_: None)
            await guard({"type": "http"}, nothing, nothing)

        place = self.told(work, *self.HERE, *self.OTHERS)
        assert (place.component, place.replica) == ("writer", "writer-2")

    def test_of_two_guards_the_inner_one_counts(self) -> None:
        """A call in the same process: the callee blocks, not the caller."""

        async def inner(*_: Any) -> None:
            sleeps()

        callee = Guard(inner, component="clerk", replica="clerk-1", on_error=lambda *_: None)

        async def outer(*_: Any) -> None:
            await callee({"type": "http"}, nothing, nothing)

        async def work() -> None:
            caller = Guard(outer, component="writer", replica="writer-1", on_error=lambda *_: None)
            await caller({"type": "http"}, nothing, nothing)

        place = self.told(work, *self.HERE, *self.OTHERS)
        assert (place.component, place.replica) == ("clerk", "clerk-1")

    def test_an_owned_task_is_its_owners(self) -> None:
        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                OwnedTasks(group, component="writer", replica="writer-2").spawn(step(sleeps))

        place = self.told(work, *self.HERE, *self.OTHERS)
        assert (place.component, place.replica) == ("writer", "writer-2")

    def test_a_task_of_its_own_making_is_told_by_its_module(self) -> None:
        place = self.told(lambda: step(sleeps), self.HERE[0], *self.OTHERS)
        assert (place.component, place.replica) == ("writer", "writer-1")

    def test_by_its_module_alone_one_of_two_replicas_cannot_be_told(self) -> None:
        place = self.told(lambda: step(sleeps), *self.HERE, *self.OTHERS)
        assert (place.component, place.replica) == ("writer", "")

    def test_a_module_that_two_components_share_tells_nothing(self) -> None:
        place = self.told(lambda: step(sleeps), self.HERE[0], replica("twin-1", HERE))
        assert (place.component, place.replica) == ("", "")
        assert place.culprit.endswith(" in sleeps")

    def test_a_module_beside_that_of_a_component_is_in_its_package(self) -> None:
        place = self.told(lambda: step(sleeps), replica("app-1", "tests.unit.main:app"), *self.OTHERS)
        assert (place.component, place.replica) == ("app", "app-1")

    def test_the_line_is_the_users_and_the_stack_shows_what_is_below(self) -> None:
        async def work() -> None:
            json.loads('"nap"', object_hook=None, cls=Sleepy)

        place = self.told(work, self.HERE[0])
        assert place.culprit.endswith(" in Sleepy.decode")
        assert "time.sleep(BLOCK_S)" in place.stack
        assert place.stack.index("in loads") < place.stack.index("in decode")

    def test_the_stack_begins_with_the_users_code(self) -> None:
        """Neither the test's own task, nor the guard, nor the framework is the component's."""

        async def app(*_: Any) -> None:
            sleeps()
            raise RuntimeError("enough")

        async def work() -> None:
            guard = Guard(
                ServerErrorMiddleware(app), component="writer", replica="writer-1", on_error=lambda *_: None
            )
            await guard({"type": "http"}, nothing, nothing)

        assert "in app\n" in self.told(work, self.HERE[0]).stack.splitlines(keepends=True)[0]

    def test_the_stack_is_bounded(self) -> None:
        place = self.told(lambda: deep(60), self.HERE[0])
        assert len(place.stack) <= 4000
        assert place.stack.count("  File ") <= 20
        assert place.stack.rstrip().endswith("time.sleep(BLOCK_S)")


class Sleepy(json.JSONDecoder):
    def decode(self, s: str, _w: Any = None) -> Any:
        time.sleep(BLOCK_S)


async def nothing(*_: Any) -> Any:
    return {"type": "http.disconnect"}


async def deep(depth: int) -> None:
    if depth:
        await deeper(depth - 1)
    else:
        sleeps()


async def deeper(depth: int) -> None:
    await deep(depth)


PLACE = Place("shop/orders.py:41 in on_order", "writer", "writer-1", "the stack")
WAITS, COMPUTES = Block(PLACE, 0.4, 0.01), Block(PLACE, 0.4, 0.39)


def reporter(told: list[LoopBlocked], *, mode: Mode = Mode.MULTI, replicas: int = 2) -> LoopBlocks:
    specs = tuple(replica(f"writer-{number}", HERE) for number in range(1, replicas + 1))
    spec = HostSpec(id="h-1", label="h", app="t", mode=mode, replicas=specs)
    return LoopBlocks(spec, replicas=lambda: specs, announce=told.append)


class TestTheReport:
    @pytest.mark.parametrize(
        ("block", "mode", "replicas", "hint"),
        [
            (WAITS, Mode.MULTI, 1, "move it off the loop with context.run_in_thread"),
            (COMPUTES, Mode.MULTI, 1, "move it off the loop with context.run_in_process"),
            (WAITS, Mode.HYBRID, 2, "run_in_thread, or isolate it: ctl move writer --to isolated"),
            (COMPUTES, Mode.SINGLE, 2, "run_in_process, or isolate it: ctl launch --mode multi, or hybrid"),
        ],
    )
    def test_the_hint_says_what_helps(self, block: Block, mode: Mode, replicas: int, hint: str) -> None:
        told: list[LoopBlocked] = []
        reporter(told, mode=mode, replicas=replicas).blocked(block)
        assert told[0].hint.endswith(hint)
        assert ("isolate" in told[0].hint) is (replicas > 1)

    def test_the_same_line_is_told_again_after_a_pause_with_a_count(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[LoopBlocked] = []
        blocks = reporter(told)
        for at_s in (0.0, 1.0, SAME_LINE_PAUSE_S - 0.1, SAME_LINE_PAUSE_S + 0.1, SAME_LINE_PAUSE_S + 1):
            monkeypatch.setattr("control_plane.runtime.clock.now_s", lambda at_s=at_s: at_s)
            blocks.blocked(WAITS)
        assert [message.count for message in told] == [1, 3]

    def test_different_lines_are_told_at_once_and_forgotten_in_time(self) -> None:
        told: list[LoopBlocked] = []
        blocks = reporter(told)
        for number in range(1000):
            blocks.blocked(Block(Place(f"line {number}"), 0.4, 0.0))
        assert len(told) == 1000
        assert len(blocks._told_s) == len(blocks._untold) == 100

    def test_a_block_that_goes_on_is_in_the_replicas_log_at_once(
        self, tmp_path: Path, log_files: ReplicaFiles
    ) -> None:
        told: list[LoopBlocked] = []
        reporter(told).still_blocked(WAITS)
        line = json.loads((tmp_path / "writer-1.log").read_text())
        assert (line["message"], line["culprit"]) == ("loop.still_blocked", PLACE.culprit)
        assert told == []

        log_files.handle(logging.makeLogRecord({"msg": "after", "name": "coplane.host"}))
        assert "after" in (tmp_path / "h.log").read_text()


@pytest.fixture
def log_files(tmp_path: Path) -> Iterator[ReplicaFiles]:
    handler = ReplicaFiles(tmp_path, "h")
    logger = logging.getLogger("coplane.watchdog")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    handler.close()
