"""Faults in a running backend stay where they happen, and lose nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from tests.support.backend import Backend, backend, request
from tests.support.wait import wait_until

AGENTS = (
    "director",
    "outliner",
    "worldbuilder",
    "worldsmith",
    "character_expert",
    "plotmaster",
    "writer",
    "critic",
    "fact_checker",
    "rewriter",
)
STORIES = int(os.environ.get("COPLANE_KILL_STORIES", "40"))
KILLS = int(os.environ.get("COPLANE_KILLS", "12"))
PATIENT = {
    f"CTL_COMPONENTS__{name.upper()}__RESTART__{option}": value
    for name in AGENTS
    for option, value in (("MAX_RESTARTS", "1000"), ("BACKOFF_MAX_S", "0.5"), ("BACKOFF_S", "0.1"))
}


def post(url: str, seed: int) -> str:
    """Post one story, again until it was accepted: the director may be the one that is being killed."""
    story = {
        "title": f"Story {seed}",
        "premise": "A lighthouse keeper counts the waves",
        "chapters": 2,
        "seed": seed,
    }
    headers = {"Idempotency-Key": f"story-{seed}"}

    def accepted() -> str | None:
        try:
            status, got, _ = request(f"{url}/api/v1/stories", method="POST", body=story, headers=headers)
        except OSError:
            return None
        return got["Location"] if status == 202 else None

    return wait_until(accepted, 60, every_s=0.2)


def kill_agents(novel: Backend, kills: int, stop: threading.Event) -> list[str]:
    """Kill a random agent with SIGKILL every second; return which were hit."""
    chance, hit = random.Random(4), []
    while len(hit) < kills and not stop.wait(1.0):
        status = novel.status()
        live = [
            replica
            for component in (status or {"components": []})["components"]
            for replica in component["replicas"]
            if component["name"] in AGENTS and replica["state"] == "ready" and replica["pid"]
        ]
        if live:
            victim = chance.choice(live)
            os.kill(victim["pid"], signal.SIGKILL)
            hit.append(victim["id"])
    return hit


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_every_story_finishes_once_while_agents_are_killed() -> None:
    with backend(env=PATIENT) as novel:
        url = novel.start("--mode", "multi").until_ready()["gateway"]["url"]
        done = threading.Event()
        with ThreadPoolExecutor(9) as pool:
            killing = pool.submit(kill_agents, novel, KILLS, done)
            locations = list(pool.map(lambda seed: post(url, seed), range(STORIES)))
            hit = killing.result()

        assert len(hit) == KILLS
        assert len(set(locations)) == STORIES
        for location in locations:
            wait_until(lambda: finished(url + location), 120, every_s=0.2)  # noqa: B023 - called at once
        assert {finish_count(url + location) for location in locations} == {1}

        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def pids(status: dict[str, Any]) -> dict[str, int]:
    """Return the process id of every replica."""
    replicas = [replica for component in status["components"] for replica in component["replicas"]]
    return {replica["id"]: replica["pid"] for replica in replicas}


def finished(location: str) -> bool:
    """Tell whether the story is finished."""
    try:
        status, _, body = request(location)
    except OSError:
        return False
    return status == 200 and json.loads(body)["status"] == "finished"


def finish_count(location: str) -> int:
    """Count how often the story says of itself that it is finished."""
    _, _, body = request(f"{location}/events", timeout_s=20)
    return body.count(b"event: finished")


def test_a_killed_host_is_replaced_and_its_neighbours_keep_their_processes() -> None:
    with backend() as novel:
        before = {
            r["id"]: r["pid"]
            for c in novel.start("--mode", "multi").until_ready()["components"]
            for r in c["replicas"]
        }

        os.kill(before["critic-1"], signal.SIGKILL)
        wait_until(lambda: novel.replica("critic-1")["pid"] not in (None, before["critic-1"]), 20)
        status = novel.until_ready()

        after = {r["id"]: r["pid"] for c in status["components"] for r in c["replicas"]}
        assert {name for name in before if before[name] != after[name]} == {"critic-1"}
        assert novel.replica("critic-1")["restarts"] == 1
        assert novel.interrupt() == 0
        novel.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_before_the_anchor_answers_leaves_nothing(number: int, tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text("import time\ntime.sleep(60)\n")
    config = tmp_path / "ctl.toml"
    config.write_text('[components.slow]\nuse = "slow_import:Slow"\n')
    with backend(config) as made:
        made.start("--mode", "multi")
        wait_until(lambda: (made.home / "bus.sock").is_socket(), 20)

        assert made.interrupt(number=number, timeout_s=10) == 130, made.output
        made.assert_nothing_left()


def test_a_signal_in_the_moment_in_which_the_anchor_is_forked_leaves_nothing() -> None:
    with backend() as made:
        for _ in range(3):
            made.start("--mode", "multi", "writer")
            assert made.launch is not None
            launch = psutil.Process(made.launch.pid)
            wait_until(launch.children, 20, every_s=0.001)

            assert made.interrupt(number=signal.SIGTERM) == 130, made.output
            made.assert_nothing_left()


def test_a_second_interrupt_forces_the_end() -> None:
    with backend() as novel:
        novel.start("--mode", "multi").until_ready()
        assert novel.launch is not None
        novel.launch.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in novel.output.lower(), 10)
        began_s = time.monotonic()

        code = novel.interrupt()

        assert code in (0, 130)
        assert time.monotonic() - began_s < 10
        novel.assert_nothing_left()


def test_a_third_interrupt_ends_a_launch_whose_loop_is_blocked(tmp_path: Path) -> None:
    config = tmp_path / "ctl.toml"
    config.write_text('[components.stuck]\nuse = "tests.support.samples:BlocksTheLoop"\n')
    with backend(config, env={"PYTHONPATH": os.getcwd()}) as stuck:
        stuck.start("--mode", "single")
        wait_until(lambda: (stuck.home / "logs" / "stuck-1.log").exists(), 20)
        assert stuck.launch is not None
        for _ in range(2):
            stuck.launch.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                stuck.launch.wait(0.3)

        assert stuck.interrupt(timeout_s=5) == 130


def test_a_launch_takes_over_what_a_killed_one_left_unless_it_is_another_backend() -> None:
    with backend() as novel:
        before = novel.start("--mode", "multi").until_ready()
        for mode, same in (("multi", True), ("hybrid", False)):
            assert novel.launch is not None
            novel.launch.kill()
            novel.launch.wait()

            after = novel.start("--mode", mode).until_ready()

            assert (pids(after) == pids(before)) is same
            assert after["mode"] == mode
            assert after["control_plane"]["epoch"] > before["control_plane"]["epoch"]
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_a_request_written_by_hand_restarts_a_component() -> None:
    with backend() as novel:
        status = novel.start("--mode", "multi").until_ready()
        before = novel.replica("writer-1")["pid"]
        client = redis.Redis(
            unix_socket_path=status["bus"]["url"].removeprefix("unix://"), decode_responses=True
        )

        client.xadd("novel:ctl:requests", {"type": "restart", "component": "writer"})
        wait_until(lambda: novel.replica("writer-1")["pid"] not in (None, before), 20)
        novel.until_ready()

        entries = client.xrange("novel:ctl:events")
        assert entries
        assert all(value.isprintable() for _, fields in entries for value in fields.values())
        client.close()
        assert novel.interrupt() == 0
        novel.assert_nothing_left()
