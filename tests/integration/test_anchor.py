"""The anchor and its hosts, as real processes."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import stat
import time

import psutil
import pytest

from contracts.errors import ControlError, LaunchError
from contracts.specs import HostSpec
from control_plane.hosting.anchored import AnchoredHosting
from control_plane.runtime import anchor_client
from control_plane.runtime.anchor_client import AnchorClient, AnchorGone
from control_plane.runtime.anchor_protocol import AnchorEvent, HostGone
from tests.support.anchored import anchored, gone, processes_in
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


async def next_event(client: AnchorClient, timeout_s: float = 5.0) -> AnchorEvent:
    return await asyncio.wait_for(anext(client.events()), timeout_s)


def hasty(spec: HostSpec) -> HostSpec:
    """Return the spec of a host that hardly has time to start."""
    (replica,) = spec.replicas
    component = replica.component.model_copy(update={"startup_timeout_s": 0.01})
    return spec.model_copy(update={"replicas": (replica.model_copy(update={"component": component}),)})


class TestHosts:
    async def test_a_host_runs_in_its_own_group_with_its_environment_and_log(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            pid = await client.spawn(anchor.spec("one", env={"MARK": "x"}))

            said = await anchor.said("one")
            assert said["pid"] == said["group"] == pid
            assert psutil.Process(pid).name() == "one"
            assert said["mark"] == "x"
            assert said["cwd"] == str(anchor.runtime.project)
            await client.signal("one", signal.SIGTERM)
            assert await next_event(client) == HostGone(host="one", pid=pid, exit_code=0, signal=None)
            assert anchor.log("one.out.log") == "one on stdout\n"

    async def test_the_exit_code_of_a_host_is_told(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            pid = await client.spawn(anchor.spec("one", exit=3))

            assert await next_event(client) == HostGone(host="one", pid=pid, exit_code=3, signal=None)

    async def test_a_host_that_raises_exits_with_one_and_leaves_its_traceback(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            pid = await client.spawn(anchor.spec("one", crash=True))

            assert await next_event(client) == HostGone(host="one", pid=pid, exit_code=1, signal=None)
            assert "RuntimeError: told to crash" in anchor.log("one.out.log")

    async def test_the_signal_that_killed_a_host_is_told_within_fifty_milliseconds(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            pid = await client.spawn(anchor.spec("one"))
            await anchor.said("one")

            began_s = time.monotonic()
            os.kill(pid, signal.SIGKILL)

            assert await next_event(client) == HostGone(host="one", pid=pid, exit_code=None, signal=9)
            assert time.monotonic() - began_s < 0.5, "far above 50 ms, for the sake of a loaded machine"

    @pytest.mark.parametrize("where", ["group", "session", "shell", "daemon", "nest"])
    @pytest.mark.parametrize("ending", ["ordered", "crashed", "in order"])
    async def test_what_a_host_started_ends_with_it(self, ending: str, where: str) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            pid = await client.spawn(anchor.spec("one", grandchild=where))
            grandchild = (await anchor.said("one"))["grandchild"]
            assert not gone(grandchild)

            match ending:
                case "ordered":
                    await client.signal("one", signal.SIGKILL)
                case "in order":
                    await client.signal("one", signal.SIGTERM)
                case "crashed":
                    os.kill(pid, signal.SIGSEGV)

            await next_event(client)
            await eventually(lambda: gone(grandchild))
            left = {anchor.pid, *(image.pid for image in anchor.images())}
            await eventually(lambda: {process.pid for process in processes_in(anchor.runtime)} == left)

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    async def test_an_anchor_that_can_open_no_file_goes_on(self, method: str) -> None:
        with anchored(env={"CTL_START_METHOD": method}) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one"))
            await anchor.said("one")
            usual = resource.prlimit(anchor.pid, resource.RLIMIT_NOFILE)
            taken = {int(number) for number in os.listdir(f"/proc/{anchor.pid}/fd")}
            none_free = min(set(range(len(taken) + 1)) - taken)
            resource.prlimit(anchor.pid, resource.RLIMIT_NOFILE, (none_free, usual[1]))

            if method == "spawn":  # else an image makes hosts, and has files of its own
                with pytest.raises(LaunchError, match="E2009"):
                    await client.spawn(anchor.spec("two"))
            await client.signal("one", signal.SIGKILL)
            assert isinstance(await next_event(client), HostGone)

            resource.prlimit(anchor.pid, resource.RLIMIT_NOFILE, usual)
            await client.spawn(anchor.spec("two"))
            await anchor.said("two")

    @pytest.mark.parametrize("method", ["fork", "spawn"])
    async def test_what_a_host_started_stays_when_its_neighbour_ends(self, method: str) -> None:
        with anchored(env={"CTL_START_METHOD": method}) as anchor:
            client = await anchor.connect()
            for name, where in (("one", "nest"), ("two", "daemon")):
                await client.spawn(anchor.spec(name, grandchild=where))
            theirs = [(await anchor.said(name))["grandchild"] for name in ("one", "two")]

            await client.signal("one", signal.SIGKILL)
            await eventually(lambda: gone(theirs[0]))

            assert not gone(theirs[1])
            assert psutil.Process(theirs[1]).ppid() == (await anchor.said("two"))["pid"]

    async def test_what_a_module_started_at_import_stays(self) -> None:
        source = "import subprocess; started = subprocess.Popen(['sleep', '600'])"
        with anchored(modules={"sample_helped": source}) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one", grandchild="session"))
            grandchild = (await anchor.said("one"))["grandchild"]
            (helper,) = (child for child in anchor.images()[0].children() if child.name() == "sleep")

            await client.signal("one", signal.SIGKILL)
            await eventually(lambda: gone(grandchild))

            assert not gone(helper.pid)
            await client.shutdown(timeout_s=10)
            assert gone(helper.pid)

    async def test_sigterm_goes_to_the_host_and_not_to_its_workers(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one", grandchild="group", deaf=True))
            grandchild = (await anchor.said("one"))["grandchild"]

            await client.signal("one", signal.SIGTERM)
            await client.signal("one", 28)  # answered after the one before was delivered

            assert not gone(grandchild)

    async def test_hosts_do_not_share_their_random_numbers(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            for name in ("one", "two"):
                await client.spawn(anchor.spec(name))

            assert (await anchor.said("one"))["random"] != (await anchor.said("two"))["random"]

    async def test_a_host_has_no_file_of_the_anchor_but_the_lifeline(self) -> None:
        with anchored(public_fds=[0], valkey=True) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one"))
            await client.spawn(anchor.spec("two"))

            files = (await anchor.said("two"))["files"]
            beyond_standard = [target for fd, target in files.items() if int(fd) > 2]
            assert len(beyond_standard) == 1, files
            assert beyond_standard[0].startswith("pipe:")

    async def test_the_public_socket_goes_to_the_host_that_is_given_it(self) -> None:
        with anchored(public_fds=[0]) as anchor:
            client = await anchor.connect()
            spec = anchor.spec("one").model_copy(update={"public_fds": client.public_fds})
            await client.spawn(spec)

            assert (await anchor.said("one"))["files"][str(client.public_fds[0])].startswith("socket:")
            assert client.public_url.startswith("http://127.0.0.1:")

    async def test_one_host_at_a_time_has_an_id(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one"))

            with pytest.raises(LaunchError, match="running already"):
                await client.spawn(anchor.spec("one"))

    async def test_a_signal_to_a_host_that_has_ended_does_nothing(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()

            await client.signal("never", signal.SIGKILL)

    async def test_hosts_are_spawned_where_forks_are_not_safe(self) -> None:
        with anchored(env={"CTL_START_METHOD": "spawn"}, modules={"sample_a": ""}, public_fds=[0]) as anchor:
            client = await anchor.connect()
            spec = anchor.spec("one", env={"MARK": "x"}).model_copy(update={"public_fds": client.public_fds})
            pid = await client.spawn(spec)

            said = await anchor.said("one")
            assert said["pid"] == said["group"] == pid
            assert (said["mark"], said["modules"]) == ("x", [])
            assert {fd for fd in said["files"] if int(fd) > 2} >= {str(client.public_fds[0])}
            assert len([fd for fd in said["files"] if int(fd) > 2]) == 2, said["files"]
            anchor.kill()
            assert await anchor.said("one", "ended") == {"reason": "lifeline"}

    async def test_prints_of_a_host_are_in_its_log_at_once(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one"))

            await eventually(lambda: anchor.log("one.out.log") == "one on stdout\n")


class TestControl:
    async def test_a_new_control_plane_takes_over_the_same_processes(self) -> None:
        with anchored() as anchor:
            first = await anchor.connect()
            pid = await first.spawn(anchor.spec("one"))
            first.close()

            second = await anchor.connect()

            assert [(host.spec.id, host.pid) for host in second.welcome.hosts] == [("one", pid)]
            assert not gone(pid)

    async def test_the_control_plane_before_loses_control(self) -> None:
        with anchored() as anchor:
            first = await anchor.connect(epoch=1)
            second = await anchor.connect(epoch=2)

            with pytest.raises(LaunchError, match="E2010"):
                await first.spawn(anchor.spec("one"))
            assert [event async for event in first.events()] == []
            await second.spawn(anchor.spec("one"))

    async def test_a_host_whose_start_was_given_up_does_not_stay(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            hosting = AnchoredHosting(client, anchor.runtime, bus_url="memory://", public_fds=())
            monkeypatch.setattr(anchor_client, "REQUEST_TIMEOUT_S", 0.2)
            here = {process.name() for process in processes_in(anchor.runtime)}
            os.kill(anchor.pid, signal.SIGSTOP)
            with pytest.raises(AnchorGone, match="did not answer"):
                await hosting.spawn(hasty(anchor.spec("late")))
            os.kill(anchor.pid, signal.SIGCONT)

            await client.signal("late", 28)  # answered after what was asked before
            await eventually(lambda: {process.name() for process in processes_in(anchor.runtime)} == here)
            assert (await anchor.connect()).welcome.hosts == ()

    async def test_an_order_to_kill_that_was_given_long_ago_is_not_obeyed(self) -> None:
        """A frozen anchor finds it when it comes back, and its host may be well again."""
        with anchored() as anchor:
            client = await anchor.connect()
            hosting = AnchoredHosting(client, anchor.runtime, bus_url="memory://", public_fds=())
            pid = await hosting.spawn(anchor.spec("one"))
            os.kill(anchor.pid, signal.SIGSTOP)
            given_s = time.monotonic()
            order = asyncio.create_task(hosting.kill("one", within_s=0.2))
            await eventually(lambda: time.monotonic() > given_s + 0.3)
            os.kill(anchor.pid, signal.SIGCONT)

            assert not await order
            assert not gone(pid)
            assert await hosting.kill("one", within_s=5)
            assert await next_event(client) == HostGone(host="one", pid=pid, exit_code=None, signal=9)

    async def test_a_death_is_told_from_a_loss_of_control(self) -> None:
        with anchored() as anchor:
            first = await anchor.connect(epoch=1)
            second = await anchor.connect(epoch=2)

            assert not await first.died(within_s=0.1)
            anchor.kill()
            assert await first.died(within_s=5)
            assert await second.died(within_s=5)

    async def test_a_lower_epoch_does_not_get_control(self) -> None:
        with anchored() as anchor:
            leader = await anchor.connect(epoch=2)

            with pytest.raises(LaunchError, match="epoch 2 is in control"):
                await anchor.connect(epoch=1)
            await leader.spawn(anchor.spec("one"))

    async def test_exits_while_nobody_is_in_control_are_told_to_the_next(self) -> None:
        with anchored() as anchor:
            first = await anchor.connect()
            pid = await first.spawn(anchor.spec("one"))
            await anchor.said("one")
            first.close()
            # The anchor must have noticed that nobody is there.
            await eventually(lambda: "controller.left" in anchor.log())
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: "host.gone" in anchor.log())

            second = await anchor.connect()

            assert second.welcome.hosts == ()
            assert await next_event(second) == HostGone(host="one", pid=pid, exit_code=None, signal=9)

    async def test_nobody_gives_orders_without_hello(self) -> None:
        with anchored() as anchor:
            await anchor.connect()
            reader, writer = await asyncio.open_unix_connection(anchor.runtime.anchor_socket)
            writer.write(b'{"op": "shutdown", "id": 7}\n')

            answer = await asyncio.wait_for(reader.readline(), 5)

            assert b"not in control" in answer
            assert b'"re":7' in answer
            writer.close()

    @pytest.mark.parametrize(
        "line", [b"", b"{", b"[]", b"\xff\xfe", b'{"op": "fly", "id": 1}', b'{"op": "signal", "id": 1}']
    )
    async def test_a_line_that_is_no_request_is_refused_and_harms_nobody(self, line: bytes) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            reader, writer = await asyncio.open_unix_connection(anchor.runtime.anchor_socket)
            writer.write(line + b"\n")

            assert b'"type":"refused"' in await asyncio.wait_for(reader.readline(), 5)
            writer.close()
            await client.spawn(anchor.spec("one"))

    async def test_a_line_without_end_ends_the_connection_and_nothing_else(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            reader, writer = await asyncio.open_unix_connection(anchor.runtime.anchor_socket)
            writer.write(b"x" * ((1 << 20) + 1))

            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            await client.spawn(anchor.spec("one"))

    async def test_more_guests_than_allowed_are_turned_away(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            guests = [await asyncio.open_unix_connection(anchor.runtime.anchor_socket) for _ in range(20)]

            reader, _ = guests[-1]
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await client.spawn(anchor.spec("one"))
            for _, writer in guests:
                writer.close()

    async def test_the_socket_is_for_its_owner_alone(self) -> None:
        with anchored() as anchor:
            assert stat.S_IMODE(anchor.runtime.anchor_socket.stat().st_mode) == 0o600

    async def test_the_launchers_lock_ends_with_the_launcher(self) -> None:
        with anchored() as anchor, anchor.runtime.acquire_lock():
            assert anchor.runtime.anchor_alive()


class TestEnd:
    async def test_shutdown_leaves_no_process_and_no_socket(self) -> None:
        with anchored(valkey=True, public_fds=[0]) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one", grandchild="group"))
            await client.spawn(anchor.spec("two"))
            for name in ("one", "two"):
                await anchor.said(name)

            await client.shutdown(timeout_s=15)

            await eventually(lambda: not processes_in(anchor.runtime))
            assert await anchor.said("one", "ended") == {"reason": "sigterm"}
            assert {path.name for path in anchor.runtime.home.iterdir() if path.is_dir()} == {"logs", "data"}
            assert not list(anchor.runtime.home.glob("*.sock"))
            assert not anchor.runtime.lock.exists()

    async def test_a_host_that_ignores_sigterm_is_killed_when_its_time_is_up(self) -> None:
        with anchored(stop_timeout_s=0.3) as anchor:
            client = await anchor.connect()
            pid = await client.spawn(anchor.spec("one", deaf=True))
            await anchor.said("one")

            await client.shutdown(timeout_s=10)

            assert gone(pid)

    async def test_a_grandchild_in_a_session_of_its_own_does_not_outlive_the_anchor(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one", grandchild="session"))
            grandchild = (await anchor.said("one"))["grandchild"]

            await client.shutdown(timeout_s=10)

            assert gone(grandchild)

    async def test_no_host_is_started_and_nobody_takes_over_while_the_anchor_stops(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one", deaf=True))
            await anchor.said("one")
            os.kill(anchor.pid, signal.SIGTERM)
            await eventually(lambda: "anchor.stopping" in anchor.log())

            with pytest.raises(ControlError, match="E3007"):
                await client.spawn(anchor.spec("two"))
            with pytest.raises(LaunchError, match="E2006 the launch before this one is still stopping"):
                await anchor.connect()

    async def test_without_a_control_plane_everything_stops_after_the_grace_period(self) -> None:
        with anchored(orphan_grace_s=0.5, valkey=True) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one"))
            await anchor.said("one")

            client.close()

            assert await anchor.said("one", "ended") == {"reason": "sigterm"}
            await eventually(lambda: not processes_in(anchor.runtime), 15)
            assert not list(anchor.runtime.home.glob("*.sock"))

    async def test_a_control_plane_that_left_in_the_middle_of_its_words_is_none(self) -> None:
        with anchored(orphan_grace_s=1.0) as anchor:
            await (await anchor.connect()).signal("nobody", signal.SIGTERM)  # it serves
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(anchor.runtime.anchor_socket))
                peer.sendall(b'{"op": "hello", "id": 1, "pid": 1}\n' * 2)

            await eventually(lambda: gone(anchor.pid))

    async def test_a_control_plane_that_comes_back_in_time_finds_everything(self) -> None:
        with anchored(orphan_grace_s=1.0) as anchor:
            first = await anchor.connect()
            await first.spawn(anchor.spec("one"))
            first.close()

            second = await anchor.connect()

            # Past the time at which the anchor would have ended.
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(second.events()), 1.5)
            assert len(second.welcome.hosts) == 1
            assert not gone(anchor.pid)

    async def test_hosts_notice_that_the_anchor_died(self) -> None:
        with anchored() as anchor:
            client = await anchor.connect()
            for name in ("one", "two"):
                await client.spawn(anchor.spec(name))
                await anchor.said(name)

            anchor.kill()

            assert (
                await anchor.said("one", "ended")
                == await anchor.said("two", "ended")
                == {"reason": "lifeline"}
            )
            assert [event async for event in client.events()] == []
            with pytest.raises(LaunchError, match="E2010"):
                await client.spawn(anchor.spec("three"))

    async def test_connecting_where_no_anchor_is_says_so(self) -> None:
        with anchored() as anchor:
            anchor.kill()

            with pytest.raises(LaunchError, match="E2010"):
                await anchor.connect()
            assert not anchor.runtime.anchor_alive()

    async def test_an_idle_anchor_does_not_wake_up(self) -> None:
        with anchored(public_fds=[0]) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one"))
            await anchor.said("one")
            await client.signal("one", 28)
            process = psutil.Process(anchor.pid)
            before = process.num_ctx_switches()

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(client.events()), 2)

            assert process.num_ctx_switches().voluntary - before.voluntary <= 1
