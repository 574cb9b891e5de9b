"""The anchor dies: the launch goes on by itself, with new hosts, and loses nothing that was accepted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.e2e.test_faults import finished, pids, post
from tests.support.anchored import anchor_above, gone
from tests.support.backend import Backend, backend, request
from tests.support.wait import wait_until


def anchor_of(made: Backend, status: dict[str, Any]) -> int:
    """Return the process id of the anchor: the parent of every host."""
    anchor: int = wait_until(lambda: anchor_above(pids(status).values()))
    return anchor


def kill_anchor(made: Backend, status: dict[str, Any]) -> None:
    """End the anchor as a crash would."""
    os.kill(anchor_of(made, status), signal.SIGKILL)


def until_ready_again(made: Backend, before: dict[str, Any]) -> dict[str, Any]:
    """Wait until all is ready below another anchor."""

    def ready() -> dict[str, Any] | None:
        status = made.status()
        later = status and status["control_plane"]["epoch"] > before["control_plane"]["epoch"]
        return status if status and later and status["ready"] else None

    try:
        return wait_until(ready, 60, every_s=0.1)
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{made.told()}") from exc


def until_it_starts_anew(made: Backend) -> None:
    """Wait until the launch has said that it does."""
    try:
        wait_until(lambda: "starting anew" in made.output, 20)
    except AssertionError as exc:
        raise AssertionError(f"{exc}\n{made.told()}") from exc


@pytest.mark.parametrize(
    ("mode", "number"),
    [("multi", signal.SIGKILL), ("hybrid", signal.SIGKILL), ("multi", signal.SIGTERM)],
    ids=["multi", "hybrid", "told to end"],
)
def test_everything_is_ready_again_with_new_processes_below_the_same_launch(mode: str, number: int) -> None:
    """Hosts that ended in order because their anchor did have not finished by themselves."""
    with backend() as novel:
        before = novel.start("--mode", mode).until_ready()

        os.kill(anchor_of(novel, before), number)
        after = until_ready_again(novel, before)

        assert not set(pids(before).values()) & set(pids(after).values())
        assert all(gone(pid) for pid in pids(before).values())
        assert after["gateway"] == before["gateway"]
        assert after["control_plane"]["pid"] == before["control_plane"]["pid"]
        assert after["control_plane"]["url"] == before["control_plane"]["url"]
        assert "the anchor died; starting anew" in novel.output
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_a_story_that_was_accepted_before_finishes_after_and_clients_wait_meanwhile() -> None:
    with backend() as novel:
        before = novel.start("--mode", "multi").until_ready()
        url = before["gateway"]["url"]
        locations = [post(url, seed) for seed in range(20)]

        kill_anchor(novel, before)
        wait_until(lambda: all(gone(pid) for pid in pids(before).values()), 20)
        with ThreadPoolExecutor(1) as pool:  # it connects while nobody accepts
            asked = pool.submit(request, f"{url}/-/ready", timeout_s=30)
            until_ready_again(novel, before)
            assert asked.result()[0] in (200, 503)

        for location in locations:
            wait_until(lambda: finished(url + location), 60, every_s=0.2)  # noqa: B023 - called at once
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_a_door_that_still_stands_open_is_not_taken_for_a_living_anchor() -> None:
    """As of an anchor whose socket the kernel closes last of all."""
    with backend() as novel, socket.socket(socket.AF_UNIX) as door:
        before = novel.start("--mode", "multi").until_ready()
        (path,) = novel.home.rglob("anchor.sock")
        path.unlink()
        door.bind(str(path))
        door.listen()

        kill_anchor(novel, before)
        until_ready_again(novel, before)

        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_a_launch_in_the_background_starts_anew_as_well() -> None:
    with backend() as novel:
        before = novel.ctl_launch_detached("multi")

        for _ in range(2):
            kill_anchor(novel, before)
            before = until_ready_again(novel, before)

        done = novel.ctl("stop")
        assert done.returncode == 0, done.stdout + done.stderr
        novel.assert_nothing_left()


def test_a_launch_that_took_over_starts_anew_at_the_same_address() -> None:
    with backend() as novel:
        first = novel.start("--mode", "multi").until_ready()
        assert novel.launch is not None
        novel.launch.kill()
        novel.launch.wait()
        before = novel.start("--mode", "multi").until_ready()
        assert pids(before) == pids(first)

        kill_anchor(novel, before)
        after = until_ready_again(novel, before)

        assert after["gateway"] == first["gateway"]
        # The gateway hears of it when the control plane does, not before.
        wait_until(lambda: request(f"{after['gateway']['url']}/-/ready")[0] == 200)
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_a_gateway_is_not_taken_for_the_one_before_that_died_while_it_drained() -> None:
    with backend() as novel:
        before = novel.start("--mode", "multi").until_ready()
        url = before["gateway"]["url"]
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port)) as unfinished:
            unfinished.sendall(b"POST /api/v1/stories HTTP/1.1\r\nhost: here\r\ncontent-length: 100\r\n\r\n{")
            wait_until(lambda: request(f"{url}/-/ready")[0] == 200)  # by then, that one has begun

            kill_anchor(novel, before)
            until_ready_again(novel, before)

        assert json.loads(request(f"{url}/-/status")[2])["gateway"] == {"gateway-1": "ready"}
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_what_hosts_had_started_ends_with_the_anchor(tmp_path: Any) -> None:
    config = tmp_path / "ctl.toml"
    config.write_text('[components.daemons]\nuse = "tests.support.samples:StartsDaemons"\n')
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as made:
        before = made.start("--mode", "multi").until_ready()
        daemons = made.named("sleep")

        kill_anchor(made, before)
        until_ready_again(made, before)

        assert all(map(gone, daemons))
        assert made.interrupt() == 0, made.output
        made.assert_nothing_left()


def test_a_stop_asked_while_everything_starts_anew_is_obeyed() -> None:
    with backend() as novel:
        before = novel.start("--mode", "multi").until_ready()

        kill_anchor(novel, before)
        until_it_starts_anew(novel)
        done = novel.ctl("stop")

        assert done.returncode == 0, done.stdout + done.stderr
        assert novel.launch is not None
        assert novel.launch.wait(30) == 0, novel.output
        novel.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_everything_starts_anew_leaves_nothing(number: int) -> None:
    with backend() as novel:
        before = novel.start("--mode", "multi").until_ready()

        kill_anchor(novel, before)
        until_it_starts_anew(novel)

        assert novel.interrupt(number=number) in (0, 130), novel.output
        novel.assert_nothing_left()


def test_an_interrupt_right_after_the_anchors_death_leaves_nothing() -> None:
    with backend() as novel:
        before = novel.start("--mode", "multi").until_ready()

        kill_anchor(novel, before)

        assert novel.interrupt(number=signal.SIGTERM) in (0, 1, 130), novel.output
        novel.assert_nothing_left()


def test_an_anchor_that_dies_while_everything_stops_is_not_replaced() -> None:
    with backend() as novel:
        before = novel.start("--mode", "multi").until_ready()
        assert novel.launch is not None
        anchor = anchor_of(novel, before)
        novel.launch.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in novel.output, 10)

        os.kill(anchor, signal.SIGKILL)

        assert novel.launch.wait(60) == 1, novel.output
        assert "E2010" in novel.output
        assert "starting anew" not in novel.output
        novel.assert_nothing_left()


def test_anchors_that_die_again_and_again_end_the_launch() -> None:
    with backend() as novel:
        novel.start("--mode", "multi", "writer").until_ready()
        launch = novel.launch
        assert launch is not None
        killed: set[int] = set()

        def kill_the_next_one() -> bool:
            """Kill anchors as soon as they are there, most of them before they answer."""
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(launch.pid).children():
                    if child.pid not in killed and child.status() != psutil.STATUS_ZOMBIE:
                        child.kill()
                        killed.add(child.pid)
            return launch.poll() is not None

        wait_until(kill_the_next_one, 50)

        assert launch.returncode == 1, novel.output
        logs = [(novel.home / "logs" / name).read_text() for name in ("control.log", "anchor.log")]
        assert len(killed) == 6, "\n".join([str(killed), novel.output, *logs])
        assert "E2010" in novel.output
        novel.assert_nothing_left()
