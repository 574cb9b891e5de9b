"""One story gives the same bytes in every mode."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.backend import backend, write_story
from tests.support.redis_servers import running_server

GOLDEN = Path(__file__).parents[1] / "golden" / "story.txt"
STORY = {
    "title": "The Salt Road",
    "premise": "A cartographer maps a city that moves at night",
    "chapters": 20,
    "seed": 7,
}
MODES = {
    "single": ({}, "single"),
    "multi": ({}, "multi"),
    "hybrid": ({}, "hybrid"),
    "multi with three writers": ({"CTL_COMPONENTS__WRITER__REPLICAS": "3"}, "multi"),
    "single with three writers": ({"CTL_COMPONENTS__WRITER__REPLICAS": "3"}, "single"),
}


@pytest.mark.parametrize("name", MODES)
def test_a_story_of_twenty_chapters_has_the_same_bytes_in_every_mode(name: str) -> None:
    env, mode = MODES[name]
    with backend(env=env) as novel:
        status = novel.start("--mode", mode).until_ready()

        assert write_story(status["gateway"]["url"], STORY) == GOLDEN.read_bytes()

        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def test_a_story_has_the_same_bytes_on_a_redis_of_somebody_else(tmp_path: Path) -> None:
    with running_server("redis", tmp_path) as server, backend(env={"CTL_BUS__URL": server.url}) as novel:
        status = novel.start("--mode", "multi").until_ready()

        assert status["bus"]["kind"] == "redis"
        assert write_story(status["gateway"]["url"], STORY) == GOLDEN.read_bytes()
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()
