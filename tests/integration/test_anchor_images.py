"""What the anchor imports before it forks, and what it keeps out of its image."""

from __future__ import annotations

import psutil
import pytest

from contracts.errors import LaunchError
from control_plane.runtime.anchor_client import AnchorClient
from tests.support.anchored import anchored

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
FAILING = """
def load():
    raise KeyError("no such tone")

load()
"""


def outcomes(client: AnchorClient) -> dict[str, str]:
    return {done.module: done.outcome for done in client.welcome.preload}


async def test_a_host_finds_its_module_imported() -> None:
    with anchored(modules={"sample_a": PLAIN}) as anchor:
        client = await anchor.connect()
        await client.spawn(anchor.spec("one"))

        assert outcomes(client) == {"sample_a": "imported"}
        assert (await anchor.said("one"))["modules"] == ["sample_a"]


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
        await client.spawn(anchor.spec("one"))

        assert outcomes(client) == {"sample_a": "imported", "sample_unsafe": "unsafe", "sample_z": "imported"}
        assert client.welcome.preload[1].why == why
        assert (await anchor.said("one"))["modules"] == ["sample_a", "sample_z"]
        assert psutil.Process(anchor.pid).num_threads() == 1


async def test_the_anchor_starts_over_as_the_same_process_with_its_sockets_and_valkey() -> None:
    with anchored(modules={"sample_unsafe": THREAD}, public_fd=0, valkey=True) as anchor:
        client = await anchor.connect()

        assert client.welcome.anchor_pid == anchor.pid
        assert client.public_url.startswith("http://127.0.0.1:")
        assert [child.pid for child in psutil.Process(anchor.pid).children()] == [client.welcome.bus_pid]
        await client.spawn(anchor.spec("one"))
        files = (await anchor.said("one"))["files"]
        assert [
            target for fd, target in files.items() if int(fd) > 2 and not target.startswith("pipe:")
        ] == []
        await client.shutdown(timeout_s=15)


async def test_an_unsafe_module_that_another_one_imports_is_found_out_too() -> None:
    modules = {"sample_a": "import sample_unsafe\n", "sample_b": PLAIN, "sample_unsafe": THREAD}
    with anchored(modules=modules) as anchor:
        client = await anchor.connect()

        assert outcomes(client) == {"sample_a": "unsafe", "sample_b": "imported", "sample_unsafe": "unsafe"}


async def test_a_module_that_raises_is_reported_with_the_users_traceback_only() -> None:
    with anchored(modules={"sample_failing": FAILING, "sample_z": PLAIN}) as anchor:
        client = await anchor.connect()

        assert outcomes(client) == {"sample_failing": "failed", "sample_z": "imported"}
        why = client.welcome.preload[0].why
        assert why.endswith("KeyError: 'no such tone'")
        assert 'sample_failing.py", line 3, in load' in why
        assert "importlib" not in why
        assert "control_plane" not in why


async def test_a_module_that_ends_the_process_is_told_as_the_anchors_end() -> None:
    refusal = pytest.raises(LaunchError, match=r"E2010 .* See anchor.log")
    with anchored(modules={"sample_a": "import os\nos._exit(3)\n"}) as anchor, refusal:
        await anchor.connect()


async def test_prints_of_a_module_go_to_the_anchors_log() -> None:
    with anchored(modules={"sample_a": "print('hello from sample')\n"}) as anchor:
        client = await anchor.connect()
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
        await client.spawn(anchor.spec("after"))

        assert (await anchor.said("after"))["modules"] == []  # a new interpreter imports what it needs
