"""What a team has already is hosted as it is: applications, objects, functions, launchers, programs."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.messages import StopReplica
from contracts.specs import ComponentSpec
from contracts.status import ReplicaState
from tests.integration.test_host import Running, hosting
from tests.support.anchored import gone
from tests.support.estate import HAPPENED
from tests.support.redis_servers import running_server
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

S = ReplicaState


def existing(use: str = "", **more: Any) -> ComponentSpec:
    """Declare existing code as the component `it`."""
    named = {"use": f"tests.support.estate:{use}"} if use else {}
    return ComponentSpec(
        name="it",
        prefix="/it",
        **{"health": {"interval_s": 0.1, "timeout_s": 0.5}, "grace_period_s": 2.0, **named, **more},
    )


def program(source: str, **more: Any) -> ComponentSpec:
    """Declare a program, which is a few lines of Python, as the component `it`."""
    return existing(command=(sys.executable, "-c", source), **more)


@pytest.fixture(autouse=True)
def _nothing_happened() -> Iterator[None]:
    HAPPENED.clear()
    yield
    HAPPENED.clear()


async def started(running: Running, state: ReplicaState = S.READY) -> None:
    await running.start("it-1")
    await running.until("it-1", state)


async def stopped(running: Running) -> None:
    await running.command(StopReplica, "it-1", grace_period_s=2.0)
    await running.until("it-1", S.STOPPED)


class TestApplications:
    async def test_its_lifespan_runs_and_its_urls_have_the_prefix(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("shop")) as running:
            await started(running)
            assert HAPPENED == ["shop opened"]
            assert await running.get("/it/stock") == (200, {"stock": 7, "root": "/it", "path": "/it/stock"})

            await stopped(running)
            assert HAPPENED == ["shop opened", "shop closed"]

    async def test_without_its_prefix_it_is_where_it_always_was(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("shop", strip_prefix=True)) as running:
            await started(running)

            assert await running.get("/it/stock") == (200, {"stock": 7, "root": "", "path": "/stock"})

    @pytest.mark.parametrize("strip_prefix", [False, True])
    async def test_its_health_is_asked_for_where_the_user_says(
        self, tmp_path: Path, strip_prefix: bool
    ) -> None:
        health = {"interval_s": 0.1, "timeout_s": 0.5, "path": "/healthz"}
        async with hosting(tmp_path, existing("shop", health=health, strip_prefix=strip_prefix)) as running:
            await started(running)

            HAPPENED.append("ill")
            await running.until("it-1", S.DEGRADED)

            assert running.host.replicas["it-1"].reason == "health: GET /healthz answered 503"
            HAPPENED.remove("ill")
            await running.until("it-1", S.READY)

    async def test_a_factory_is_called_with_what_the_configuration_says(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("create_shop", config={"title": "corner"})) as running:
            await started(running)

            assert await running.get("/it/title") == (200, {"title": "corner"})

    async def test_a_value_that_a_factory_does_not_take_is_refused(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("create_shop", config={"titel": "corner"})) as running:
            await started(running, S.FAILED)

            error = running.host.replicas["it-1"].error
            assert str(error).startswith(
                "E5001 component 'it': `config.titel` is not an argument of create_shop"
            )
            assert "Did you mean 'title'" in str(error)

    async def test_a_wsgi_application_answers(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("pages")) as running:
            await started(running)

            assert await running.get("/it/a") == (200, {"script": "/it", "path": "/a"})


class TestObjects:
    async def test_a_start_that_returns_has_started_it(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Connects", config={"tone": "noir"})) as running:
            await started(running)
            assert HAPPENED == ["connected noir"]

            await stopped(running)
            assert HAPPENED == ["connected noir", "disconnected"]

    @pytest.mark.parametrize("ready", ["", "running"])
    async def test_a_start_that_goes_on_is_its_life(self, tmp_path: Path, ready: str) -> None:
        async with hosting(tmp_path, existing("Consumes", ready=ready)) as running:
            await started(running)
            assert HAPPENED == []

            await stopped(running)
            assert HAPPENED == ["consumed to the end"]

    async def test_it_is_ready_when_somebody_listens_at_its_port(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        spec = existing("Listens", ready=str(port), config={"port": port})
        async with hosting(tmp_path, spec) as running:
            starting = asyncio.create_task(started(running))
            await running.until("it-1", S.STARTING)
            assert not starting.done()

            HAPPENED.append("listen")
            await starting
            await stopped(running)

    async def test_blocking_code_with_other_names_has_a_thread_of_its_own(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Blocks", run="run_forever", ready="up")) as running:
            await started(running)

            await stopped(running)
            assert HAPPENED == ["blocked to the end"]

    async def test_a_life_that_is_over_is_no_failure(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Leaves", run="run")) as running:
            await started(running, S.STOPPED)

            replica = running.host.replicas["it-1"]
            assert (replica.error, replica.reason) == (None, "it has finished")

    async def test_its_crash_is_the_components_and_nobody_elses(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Breaks")) as running:
            await started(running)
            await running.until("it-1", S.FAILED)

            assert "SystemExit: the queue is away" in str(running.host.replicas["it-1"].error)

    async def test_a_stop_that_cancels_the_start_is_a_stop_in_order(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("CancelsItself")) as running:
            await started(running)

            await running.command(StopReplica, "it-1", grace_period_s=2.0)
            await running.until("it-1", S.STOPPED)
            assert (HAPPENED, running.host.replicas["it-1"].reason) == (["cancelled"], None)

    async def test_a_start_that_is_cancelled_unasked_is_a_crash(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("IsCancelled")) as running:
            await started(running)
            await running.until("it-1", S.FAILED)
            assert "'start' was cancelled from within" in str(running.host.replicas["it-1"].error)

    async def test_a_decorated_start_is_a_start_and_a_plain_stop_of_it_is_in_the_loop(
        self, tmp_path: Path
    ) -> None:
        async with hosting(tmp_path, existing("Decorated")) as running:
            await started(running)
            await stopped(running)
            assert HAPPENED == ["started", "stopped in the loop"]

    async def test_one_that_never_gets_ready_is_stopped_before_it_fails(self, tmp_path: Path) -> None:
        spec = existing("Blocks", run="run_forever", ready="down", startup_timeout_s=0.5)
        async with hosting(tmp_path, spec) as running:
            await started(running, S.FAILED)
            assert HAPPENED == ["blocked to the end"]

    async def test_a_start_that_raises_has_nothing_to_stop(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Raises")) as running:
            await started(running, S.FAILED)
            assert "ConnectionError: the queue is away" in str(running.host.replicas["it-1"].error)
            assert HAPPENED == []

    async def test_a_ready_that_it_does_not_have_is_named(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Connects", ready="tones")) as running:
            await started(running, S.FAILED)
            assert "Connects has no 'tones'. Did you mean 'tone'?" in str(running.host.replicas["it-1"].error)

    async def test_what_does_not_end_is_left_behind(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("NeverReturns", grace_period_s=0.5)) as running:
            await started(running)

            await running.command(StopReplica, "it-1", grace_period_s=0.5)
            await running.until("it-1", S.STOPPED)
            assert HAPPENED == ["deaf"]

    async def test_a_method_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Connects", stop="halt")) as running:
            await started(running, S.FAILED)

            assert "E2005 component 'it': Connects has no 'halt'" in str(running.host.replicas["it-1"].error)

    async def test_what_is_nothing_of_all_this_is_refused(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("Odd")) as running:
            await started(running, S.FAILED)

            assert "is nothing that can be hosted" in str(running.host.replicas["it-1"].error)


class TestFunctionsAndLaunchers:
    async def test_a_coroutine_function_that_returns_has_finished(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("works")) as running:
            await started(running, S.STOPPED)
            assert HAPPENED == ["worked"]

    async def test_one_that_goes_on_is_cancelled_at_the_end(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("works_on", config={"items": 3})) as running:
            await started(running)
            await eventually(lambda: HAPPENED == ["it-1 works on 3"])

            await stopped(running)

    async def test_one_of_three_arguments_is_no_application(self, tmp_path: Path) -> None:
        config = {"source": "a", "target": "b", "limit": 3}
        async with hosting(tmp_path, existing("copies", config=config)) as running:
            await started(running, S.STOPPED)
            assert HAPPENED == ["copied 3 from a to b"]

    async def test_a_wrong_argument_is_a_wrong_declaration(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("copies", config={"source": "a"})) as running:
            await started(running, S.FAILED)
            replica = running.host.replicas["it-1"]
            assert replica.permanent
            assert "E5001 component 'it': the argument 'target' has no value" in str(replica.error)

    async def test_one_that_raises_has_crashed(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("fails")) as running:
            await started(running, S.FAILED)
            assert "ValueError: no such item" in str(running.host.replicas["it-1"].error)

    async def test_an_agent_of_a_launcher_is_started_alone_and_stopped(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("AgentLauncher", agent="writer")) as running:
            await started(running)
            assert HAPPENED == ["writer started"]

            await stopped(running)
            assert HAPPENED == ["writer started", "writer stopped"]

    async def test_the_crash_of_an_agent_is_that_agents(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("AgentLauncher", agent="critic")) as running:
            await started(running, S.FAILED)
            assert "the critic is unhappy" in str(running.host.replicas["it-1"].error)

    @pytest.mark.parametrize(
        ("agent", "said"), [("", "no agent is named"), ("wirter", "has not loaded agent 'wirter'")]
    )
    async def test_an_agent_that_the_launcher_does_not_know_is_refused(
        self, tmp_path: Path, agent: str, said: str
    ) -> None:
        async with hosting(tmp_path, existing("AgentLauncher", agent=agent)) as running:
            await started(running, S.FAILED)
            assert said in str(running.host.replicas["it-1"].error)

    async def test_a_faststream_application_is_started_and_stopped(self, tmp_path: Path) -> None:
        with running_server("valkey", tmp_path) as server:
            async with hosting(tmp_path, existing("make_stream", config={"url": server.url})) as running:
                await started(running)
                await eventually(lambda: HAPPENED == ["stream started", "ordered tea"])

                await stopped(running)
                assert HAPPENED == ["stream started", "ordered tea", "stream stopped"]

    async def test_a_faststream_application_that_adopts_the_bus_needs_no_redis(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("make_adopted", adopt_bus=True)) as running:
            await started(running)
            await eventually(lambda: sorted(HAPPENED) == ["came late", "one tea", "served tea"])

            assert running.host.replicas["it-1"].subscriptions == ("bills", "cups", "late", "orders")
            await stopped(running)

    async def test_a_faststream_application_that_names_channels_cannot_adopt_the_bus(
        self, tmp_path: Path
    ) -> None:
        settings = {"adopt_bus": True, "config": {"url": "redis://127.0.0.1:1"}}
        async with hosting(tmp_path, existing("make_stream", **settings)) as running:
            await started(running, S.FAILED)
            assert "E4003" in str(running.host.replicas["it-1"].error)

    async def test_only_a_faststream_application_can_adopt_the_bus(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing("create_shop", adopt_bus=True)) as running:
            await started(running, S.FAILED)
            assert "`adopt_bus` is for a FastStream application" in str(running.host.replicas["it-1"].error)


SERVER = """
import http.server, json, os, sys
class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        prefix, tone = self.headers.get("X-Forwarded-Prefix"), os.environ.get("TONE")
        said = {"path": self.path, "prefix": prefix, "tone": tone}
        body = json.dumps(said).encode()
        self.send_response(503 if self.path == "/ill" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Pages).serve_forever()
"""
WITH_CHILD = """
import subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
print("child", child.pid, flush=True)
print("ready to go")
time.sleep(1000)
"""
ON_SIGINT = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
print("up")
time.sleep(1000)
"""


class TestPrograms:
    def output(self, folder: Path) -> str:
        return (folder / "logs" / "it-1.out.log").read_text(errors="replace")

    @pytest.fixture(autouse=True)
    def _logs(self, tmp_path: Path) -> None:
        (tmp_path / "logs").mkdir()

    async def test_its_prefix_leads_to_its_port(self, tmp_path: Path) -> None:
        spec = existing(
            command=(sys.executable, "-c", SERVER, "{port}"), port=0, strip_prefix=True, env={"TONE": "noir"}
        )
        async with hosting(tmp_path, spec) as running:
            await started(running)

            assert await running.get("/it/a?b=1") == (
                200,
                {"path": "/a?b=1", "prefix": "/it", "tone": "noir"},
            )

    async def test_its_health_is_what_a_path_of_it_says(self, tmp_path: Path) -> None:
        health = {"interval_s": 0.1, "timeout_s": 0.5, "path": "/ill"}
        spec = existing(
            command=(sys.executable, "-c", SERVER, "{port}"), port=0, health=health, startup_timeout_s=2
        )
        async with hosting(tmp_path, spec) as running:
            await started(running, S.FAILED)

            assert "GET /ill answered 503" in str(running.host.replicas["it-1"].error)

    @pytest.mark.parametrize("pty", [False, True])
    async def test_a_line_says_that_it_is_ready_and_its_whole_group_ends(
        self, tmp_path: Path, pty: bool
    ) -> None:
        spec = program(WITH_CHILD, health={"log": "ready to .o", "interval_s": 0.1}, pty=pty)
        async with hosting(tmp_path, spec) as running:
            await started(running)
            child = int(self.output(tmp_path).split()[1])
            assert "ready to go" in self.output(tmp_path)

            await stopped(running)
            await eventually(lambda: gone(child))

    async def test_it_is_asked_to_end_by_the_signal_it_wants(self, tmp_path: Path) -> None:
        spec = program(ON_SIGINT, stop_signal="SIGINT", health={"log": "up", "interval_s": 0.1})
        async with hosting(tmp_path, spec) as running:
            await started(running)

            await stopped(running)
            assert running.host.replicas["it-1"].reason is None

    async def test_what_a_shell_has_started_ends_in_order_after_the_shell(self, tmp_path: Path) -> None:
        leaves = "signal.signal(15, lambda *_: (time.sleep(0.3), print('bye'), sys.exit()))"
        # One piece: the line counts as soon as its beginning is there, and the handler may print then.
        source = f"import signal,sys,time; {leaves}; sys.stdout.write('up\\n'); time.sleep(1000)"
        line = f'{sys.executable} -u -c "{source}"; true'
        spec = existing(command=("sh", "-c", line), health={"log": "up", "interval_s": 0.1})
        async with hosting(tmp_path, spec) as running:
            await started(running)

            await stopped(running)
            assert self.output(tmp_path).split() == ["up", "bye"]

    async def test_one_that_does_not_end_is_killed_after_its_grace_period(self, tmp_path: Path) -> None:
        spec = program(ON_SIGINT, health={"log": "up", "interval_s": 0.1})
        async with hosting(tmp_path, spec) as running:
            await started(running)
            await running.command(StopReplica, "it-1", grace_period_s=0.3)
            await running.until("it-1", S.STOPPED)

            assert "cut off after its grace period" in str(running.host.replicas["it-1"].reason)

    @pytest.mark.parametrize(
        "more", [{"port": 0}, {"health": {"log": "never", "interval_s": 0.1}}], ids=["port", "log"]
    )
    async def test_exit_code_0_is_its_end_before_it_is_ready_too(
        self, tmp_path: Path, more: dict[str, Any]
    ) -> None:
        async with hosting(tmp_path, program("print('already running')", **more)) as running:
            await started(running, S.STOPPED)
            assert running.host.replicas["it-1"].reason == "it has finished"

    async def test_a_stop_before_it_is_ready_asks_it_to_end(self, tmp_path: Path) -> None:
        source = "import signal,sys,time; signal.signal(15, lambda *_: (print('bye'), sys.exit(0)))\n"
        source += "print('up', flush=True)\ntime.sleep(1000)"
        async with hosting(tmp_path, program(source, port=0)) as running:
            await running.start("it-1")
            out = tmp_path / "logs" / "it-1.out.log"
            await eventually(lambda: out.exists() and "up" in out.read_text())

            await stopped(running)
            assert self.output(tmp_path).split() == ["up", "bye"]

    async def test_one_that_cannot_be_started_leaves_nothing_open(self, tmp_path: Path) -> None:
        spec = existing(command=("no-such-program",), pty=True)
        async with hosting(tmp_path, spec) as running:
            await started(running, S.FAILED)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(3):
                await running.start("it-1")
                await eventually(lambda: running.host.replicas["it-1"].state is S.FAILED)
            assert len(os.listdir("/proc/self/fd")) == before

    async def test_exit_code_0_is_its_end(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, program("print('done')")) as running:
            await started(running, S.STOPPED)

            assert running.host.replicas["it-1"].reason == "it has finished"
            assert self.output(tmp_path) == "done\n"

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("print('oh no'); raise SystemExit(3)", "exited with code 3. Oh no"),
            ("import os; os.kill(os.getpid(), 11)", "was killed by SIGSEGV"),
        ],
    )
    async def test_any_other_end_is_a_crash(self, tmp_path: Path, source: str, said: str) -> None:
        async with hosting(tmp_path, program(source)) as running:
            await started(running, S.FAILED)

            assert said in str(running.host.replicas["it-1"].error)

    async def test_one_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        async with hosting(tmp_path, existing(command=("no-such-program",))) as running:
            await started(running, S.FAILED)

            error = str(running.host.replicas["it-1"].error)
            assert error.startswith("E5015 component 'it': 'no-such-program' could not be started")

    async def test_its_health_may_be_a_program_as_well(self, tmp_path: Path) -> None:
        flag = tmp_path / "well"
        flag.touch()
        spec = program(
            "import time; time.sleep(1000)", health={"exec": ("test", "-e", str(flag)), "interval_s": 0.1}
        )
        async with hosting(tmp_path, spec) as running:
            await started(running)

            flag.unlink()
            await running.until("it-1", S.DEGRADED)
            assert running.host.replicas["it-1"].reason == "health: test exited with 1"

    async def test_it_is_killed_and_nothing_else_dies(self, tmp_path: Path) -> None:
        spec = program(WITH_CHILD, health={"log": "ready", "interval_s": 0.1})
        async with hosting(tmp_path, spec) as running:
            await started(running)
            child = int(self.output(tmp_path).split()[1])

            os.kill(os.getpgid(child), signal.SIGKILL)
            await running.until("it-1", S.FAILED)

            assert "was killed by SIGKILL" in str(running.host.replicas["it-1"].error)
            await eventually(lambda: gone(child))

    async def test_a_flood_without_a_line_end_stops_nothing(self, tmp_path: Path) -> None:
        source = (
            "import os\nfor _ in range(64): os.write(1, b'\\xff' * 65536)\nprint('ready')\nwhile True: pass"
        )
        async with hosting(tmp_path, program(source, health={"log": "ready$", "interval_s": 0.1})) as running:
            await started(running)

            assert (tmp_path / "logs" / "it-1.out.log").stat().st_size > 64 * 65536
