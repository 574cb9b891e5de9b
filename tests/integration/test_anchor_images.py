"""What is imported before hosts are forked, what is kept out of it, and who waits for whom."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.errors import LaunchError
from control_plane.runtime.anchor_client import AnchorClient
from control_plane.runtime.anchor_protocol import AnchorEvent, HostDelayed
from tests.support.anchored import Anchored, anchored, gone
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

PLAIN = "VALUE = 1\n"
THREAD = """
import threading
threading.Thread(target=threading.Event().wait, name="sample-poller", daemon=True).start()
"""
SOCKET = """
import socket
kept = socket.socket(socket.AF_UNIX)
"""
EVENT_LOOP = """
import asyncio
loop = asyncio.new_event_loop()
"""
# Takes until somebody makes the file that the environment names, and notes that it was begun.
SLOW = """
import os, pathlib, time
with open(os.environ["SAMPLE_RELEASE"] + ".begun", "a") as begun:
    begun.write("x")
while not pathlib.Path(os.environ["SAMPLE_RELEASE"]).exists():
    time.sleep(0.01)
"""
FAILING = """
def load():
    raise KeyError("no such tone")

load()
"""


def outcomes(anchor: Anchored) -> dict[str, str]:
    """Return what came of each module that was imported, the last word of each."""
    return {done["target"]: done["outcome"] for done in imports(anchor)}


def imports(anchor: Anchored) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in anchor.log().splitlines() if line.startswith("{"))
    return [line for line in lines if line["message"] == "module.imported"]


async def test_a_host_finds_its_module_imported() -> None:
    with anchored(modules={"sample_a": PLAIN}) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one", module="sample_a"))

        assert outcomes(anchor) == {"sample_a": "imported"}
        assert (await anchor.said("one"))["modules"] == ["sample_a"]


async def test_a_host_is_the_anchors_child_and_no_zombie_is_left_of_its_making() -> None:
    with anchored(modules={"sample_a": PLAIN}) as anchor:
        client = await anchor.connect()
        pid = await client.spawn(anchor.spec("one", module="sample_a"))
        await anchor.said("one")

        assert psutil.Process(pid).ppid() == anchor.pid
        assert not anchor.images()[0].children()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (THREAD, "importing it starts thread 'sample-poller'"),
        (SOCKET, "importing it opens a socket"),
        (EVENT_LOOP, "importing it opens an event loop, opens a socket, opens a socket"),
    ],
    ids=["thread", "socket", "event loop"],
)
async def test_a_module_that_makes_forks_unsafe_is_named_and_kept_out(source: str, why: str) -> None:
    with anchored(modules={"sample_a": PLAIN, "sample_unsafe": source, "sample_z": PLAIN}) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one", module="sample_z"))
        await client.spawn(anchor.spec("two", module="sample_unsafe"))

        assert outcomes(anchor) == {"sample_a": "imported", "sample_unsafe": "unsafe", "sample_z": "imported"}
        assert [done["why"] for done in imports(anchor) if done["outcome"] == "unsafe"] == [why]
        for host in ("one", "two"):
            assert (await anchor.said(host))["modules"] == ["sample_a", "sample_z"]
        assert [image.num_threads() for image in anchor.images()] == [1]


async def test_what_an_image_was_spoilt_by_leaves_nothing_in_hosts() -> None:
    with anchored(modules={"sample_unsafe": SOCKET}, public_fds=[0], valkey=True) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one"))

        assert client.public_url.startswith("http://127.0.0.1:")
        files = (await anchor.said("one"))["files"]
        assert [
            target for fd, target in files.items() if int(fd) > 2 and not target.startswith("pipe:")
        ] == []
        await client.shutdown(timeout_s=15)


async def test_an_unsafe_module_that_another_one_imports_is_found_out_too() -> None:
    modules = {"sample_a": "import sample_unsafe\n", "sample_b": PLAIN, "sample_unsafe": THREAD}
    with anchored(modules=modules) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one", module="sample_b"))

        assert outcomes(anchor) == {"sample_a": "unsafe", "sample_b": "imported", "sample_unsafe": "unsafe"}


async def test_a_module_that_raises_is_reported_with_the_users_traceback_only() -> None:
    with anchored(modules={"sample_failing": FAILING, "sample_z": PLAIN}) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one", module="sample_failing"))

        assert outcomes(anchor) == {"sample_failing": "failed", "sample_z": "imported"}
        why = imports(anchor)[0]["why"]
        assert why.endswith("KeyError: 'no such tone'")
        assert 'sample_failing.py", line 3, in load' in why
        assert "importlib" not in why
        assert "control_plane" not in why


async def test_a_module_that_ends_the_process_ends_an_image_and_not_the_anchor() -> None:
    modules = {"sample_a": PLAIN, "sample_deadly": "import os\nos._exit(3)\n", "sample_z": PLAIN}
    with anchored(modules=modules) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one", module="sample_z"))
        await client.spawn(anchor.spec("two", module="sample_deadly"))

        for host in ("one", "two"):
            assert (await anchor.said(host))["modules"] == ["sample_a", "sample_z"]
        assert '"why": "importing it ends the process"' in anchor.log()


async def test_prints_of_a_module_go_to_the_anchors_log() -> None:
    with anchored(modules={"sample_a": "print('hello from sample')\n"}) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one", module="sample_a"))
        await client.shutdown(timeout_s=10)

        assert "hello from sample" in anchor.log()
        assert '"target": "sample_a"' in anchor.log()


async def test_a_host_made_after_its_module_was_changed_has_the_new_code() -> None:
    """A fork would have the code that was imported before."""
    with anchored(modules={"sample_a": PLAIN, "sample_b": PLAIN}) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("before"))
        assert (await anchor.said("before"))["modules"] == ["sample_a", "sample_b"]

        (anchor.runtime.project / "sample_b.py").write_text("VALUE = 'another'\n")
        pid = await client.spawn(anchor.spec("after"))

        assert (await anchor.said("after"))["modules"] == []  # a new interpreter imports what it needs
        assert psutil.Process(pid).ppid() == anchor.pid


class TestSlowImports:
    """An import that takes long, until the test releases it."""

    async def test_others_do_not_wait_for_it(self, tmp_path: Path) -> None:
        release = tmp_path / "release"
        modules = {"sample_a": PLAIN, "sample_slow": SLOW, "sample_z": PLAIN}
        with anchored(modules=modules, env={"SAMPLE_RELEASE": str(release)}) as anchor:
            client = await anchor.connect()
            slow = asyncio.create_task(client.spawn(anchor.spec("slow", module="sample_slow")))
            for name in ("a", "z"):
                await client.spawn(anchor.spec(name, module=f"sample_{name}"))

            assert (await anchor.said("z"))["modules"] == ["sample_a", "sample_z"]
            assert await next_event(client) == HostDelayed(
                host="slow", why="importing 'sample_slow' takes long"
            )
            assert not slow.done()

            release.touch()
            await slow
            assert (await anchor.said("slow"))["modules"] == ["sample_a", "sample_slow"]

    async def test_whoever_needs_the_same_package_shares_its_image(self, tmp_path: Path) -> None:
        release, installed = tmp_path / "release", tmp_path / "installed"
        (installed / "sample_heavy").mkdir(parents=True)
        (installed / "sample_heavy" / "__init__.py").write_text(SLOW)
        modules = {
            "agents_x": "import sample_heavy\n",
            "agents_y": "from sample_heavy import os\n",
            "agents_z": PLAIN,
        }
        env = {"SAMPLE_RELEASE": str(release), "PYTHONPATH": f"{installed}:{os.getcwd()}"}
        with anchored(modules=modules, env=env) as anchor:
            client = await anchor.connect()
            waiting = [
                asyncio.create_task(client.spawn(anchor.spec(name, module=f"agents_{name}"))) for name in "xy"
            ]
            await client.spawn(anchor.spec("z", module="agents_z"))

            assert (await anchor.said("z"))["modules"] == []
            delays = {await next_event(client) for _ in waiting}
            assert delays == {
                HostDelayed(host="x", why="importing 'agents_x' takes long (sample_heavy)"),
                HostDelayed(host="y", why="'agents_y' waits for the import of 'agents_x'"),
            }

            release.touch()
            await asyncio.gather(*waiting)
            for name in "xy":
                assert (await anchor.said(name))["modules"] == ["sample_heavy"]
            assert (tmp_path / "release.begun").read_text() == "x", "it was imported more than once"

    async def test_a_module_that_needs_two_slow_packages_is_imported_with_one_of_them(
        self, tmp_path: Path
    ) -> None:
        release, installed = tmp_path / "release", tmp_path / "installed"
        installed.mkdir()
        for name in "pq":
            (installed / f"sample_{name}.py").write_text(SLOW)
        modules = {
            "agents_p": "import sample_p\n",
            "agents_q": "import sample_q\n",
            "agents_pq": "import sample_p, sample_q\n",
        }
        env = {"SAMPLE_RELEASE": str(release), "PYTHONPATH": f"{installed}:{os.getcwd()}"}
        with anchored(modules=modules, env=env) as anchor:
            client = await anchor.connect()
            waiting = [asyncio.create_task(client.spawn(anchor.spec(name, module=name))) for name in modules]
            assert {(await next_event(client)).type for _ in waiting} == {"host_delayed"}

            release.touch()
            await asyncio.gather(*waiting)

            assert (await anchor.said("agents_pq"))["modules"] == ["sample_p", "sample_q"]

    async def test_a_module_that_makes_do_without_the_package_is_imported_again(self, tmp_path: Path) -> None:
        release, installed = tmp_path / "release", tmp_path / "installed"
        installed.mkdir()
        (installed / "sample_heavy.py").write_text(SLOW)
        modules = {
            "agents_x": "import sample_heavy\n",
            "agents_y": "try:\n    import sample_heavy\nexcept:\n    pass\n",
            "agents_z": PLAIN,
        }
        env = {"SAMPLE_RELEASE": str(release), "PYTHONPATH": f"{installed}:{os.getcwd()}"}
        with anchored(modules=modules, env=env) as anchor:
            client = await anchor.connect()
            waiting = asyncio.create_task(client.spawn(anchor.spec("y", module="agents_y")))
            await client.spawn(anchor.spec("z", module="agents_z"))
            assert not waiting.done()

            release.touch()
            await waiting
            assert (await anchor.said("y"))["modules"] == ["sample_heavy"]

    async def test_an_image_that_is_spoilt_already_is_not_left_to_it(self, tmp_path: Path) -> None:
        release = tmp_path / "release"
        modules = {"sample_a": THREAD, "sample_slow": SLOW}
        with anchored(modules=modules, env={"SAMPLE_RELEASE": str(release)}) as anchor:
            client = await anchor.connect()
            slow = asyncio.create_task(client.spawn(anchor.spec("slow", module="sample_slow")))
            assert (await next_event(client)).type == "host_delayed"
            await eventually(lambda: (tmp_path / "release.begun").read_text() == "xx")

            release.touch()
            await slow
            assert (await anchor.said("slow"))["modules"] == ["sample_slow"]

    async def test_an_image_in_which_nothing_came_of_it_does_not_stay(self, tmp_path: Path) -> None:
        release = tmp_path / "release"
        modules = {"sample_slow": f"{SLOW}\nimport threading\n{THREAD}", "sample_z": PLAIN}
        with anchored(modules=modules, env={"SAMPLE_RELEASE": str(release)}) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("z", module="sample_z"))
            assert len(anchor.images()) >= 2

            release.touch()
            await client.spawn(anchor.spec("slow", module="sample_slow"))
            await anchor.said("slow")
            await eventually(lambda: len(anchor.images()) == 1)

    async def test_a_package_that_came_quickly_is_not_blamed(self, tmp_path: Path) -> None:
        release, installed = tmp_path / "release", tmp_path / "installed"
        installed.mkdir()
        (installed / "sample_quick.py").write_text(PLAIN)
        modules = {"agents_x": f"import sample_quick\n{SLOW}", "agents_y": "import sample_quick\n"}
        env = {"SAMPLE_RELEASE": str(release), "PYTHONPATH": f"{installed}:{os.getcwd()}"}
        with anchored(modules=modules, env=env) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("y", module="agents_y"))

            assert (await anchor.said("y"))["modules"] == ["sample_quick"]

    async def test_a_host_that_waits_can_be_given_up(self, tmp_path: Path) -> None:
        release = tmp_path / "release"
        env = {"SAMPLE_RELEASE": str(release)}
        with anchored(modules={"sample_slow": SLOW}, env=env) as anchor:
            client = await anchor.connect()
            slow = asyncio.create_task(client.spawn(anchor.spec("slow", module="sample_slow")))
            assert (await next_event(client)).type == "host_delayed"

            await client.signal("slow", signal.SIGKILL)

            with pytest.raises(LaunchError, match="takes long"):
                await slow
            release.touch()
            await client.spawn(anchor.spec("again", module="sample_slow"))
            assert [host.spec.id for host in (await anchor.connect()).welcome.hosts] == ["again"]

    async def test_whoever_takes_over_asks_for_it_himself(self, tmp_path: Path) -> None:
        release = tmp_path / "release"
        env = {"SAMPLE_RELEASE": str(release)}
        with anchored(modules={"sample_slow": SLOW}, env=env) as anchor:
            first = await anchor.connect()
            slow = asyncio.create_task(first.spawn(anchor.spec("slow", module="sample_slow")))
            assert (await next_event(first)).type == "host_delayed"

            second = await anchor.connect()
            with pytest.raises(LaunchError):
                await slow
            release.touch()
            await second.spawn(anchor.spec("slow", module="sample_slow"))

            assert (await anchor.said("slow"))["modules"] == ["sample_slow"]

    async def test_the_anchor_ends_in_the_middle_of_it(self, tmp_path: Path) -> None:
        env = {"SAMPLE_RELEASE": str(tmp_path / "release")}
        with anchored(modules={"sample_slow": SLOW}, env=env) as anchor:
            client = await anchor.connect()
            await eventually((tmp_path / "release.begun").exists)
            images = anchor.images()

            await client.shutdown(timeout_s=10)

            assert all(gone(image.pid) for image in images)


class TestImages:
    async def test_one_that_is_killed_is_replaced(self) -> None:
        with anchored(modules={"sample_a": PLAIN}) as anchor:
            client = await anchor.connect()
            pid = await client.spawn(anchor.spec("one", module="sample_a"))
            await anchor.said("one")
            (image,) = anchor.images()

            image.kill()
            await eventually(lambda: [other.pid != image.pid for other in anchor.images()] == [True])
            await client.spawn(anchor.spec("two", module="sample_a"))

            assert (await anchor.said("two"))["modules"] == ["sample_a"]
            assert not gone(pid)

    async def test_they_die_with_the_anchor(self) -> None:
        with anchored(modules={"sample_a": PLAIN}) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one", module="sample_a"))
            await anchor.said("one")
            images = anchor.images()

            anchor.kill()

            await eventually(lambda: all(gone(image.pid) for image in images))

    async def test_those_that_a_module_ends_again_and_again_are_made_without_it(self) -> None:
        modules = {"sample_a": PLAIN, "sample_bomb": "import signal\nsignal.setitimer(0, 0.05)\n"}
        with anchored(modules=modules) as anchor:
            client = await anchor.connect()
            await eventually(lambda: '"why": "images that have it die"' in anchor.log(), 20)

            await client.spawn(anchor.spec("one", module="sample_a"))

            assert (await anchor.said("one"))["modules"] == []

    async def test_a_module_that_reaps_children_does_not_end_one(self) -> None:
        source = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        with anchored(modules={"sample_a": source}) as anchor:
            client = await anchor.connect()
            await client.spawn(anchor.spec("one", module="sample_a"))
            await anchor.said("one")  # a host has its own name by then
            before = [image.pid for image in anchor.images()]
            await client.spawn(anchor.spec("two", module="sample_a"))
            await anchor.said("two")

            assert [image.pid for image in anchor.images()] == before

    async def test_hosts_that_end_at_once_are_told_of(self) -> None:
        with anchored(modules={"sample_a": PLAIN}) as anchor:
            client = await anchor.connect()
            pids = [await client.spawn(anchor.spec(f"h{n}", module="sample_a", exit=n)) for n in range(8)]

            told = [await next_event(client) for _ in pids]

            assert {
                (event.host, event.pid, event.exit_code) for event in told if event.type == "host_gone"
            } == {(f"h{n}", pid, n) for n, pid in enumerate(pids)}


async def next_event(client: AnchorClient, timeout_s: float = 5.0) -> AnchorEvent:
    return await asyncio.wait_for(anext(client.events()), timeout_s)
