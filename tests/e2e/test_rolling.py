"""A component can be replaced under load, the gateway too: no client sees it, and no event is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.e2e.test_faults import AGENTS, finish_count, finished, post
from tests.support.backend import DEMO, REPOSITORY, Backend, backend
from tests.support.load import Report, under_load
from tests.support.wait import wait_until

ROLLS = int(os.environ.get("COPLANE_ROLLS", "1"))
WITH_ROUTES = tuple(name for name in AGENTS if name != "director")

pytestmark = pytest.mark.anyio


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The demo, with a component that gives back what it gets."""
    path = tmp_path / "ctl.toml"
    echo = '\n[components.echo]\nuse = "tests.support.echo:Echo"\ngroup = "writing"\n'
    path.write_text(DEMO.read_text().replace("[profiles.", echo + "\n[profiles.", 1))
    return path


def restart(novel: Backend, component: str) -> None:
    """Restart a component as an operator does; it returns when the new replicas are ready."""
    done = novel.ctl("restart", component)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * ROLLS)
@pytest.mark.parametrize("mode", ["multi", "single"])
async def test_restarting_every_component_under_load_loses_nothing(mode: str, config: Path) -> None:
    with backend(config, env={"PYTHONPATH": str(REPOSITORY)}) as novel:
        status = await asyncio.to_thread(novel.start("--mode", mode).until_ready)
        url = status["gateway"]["url"]
        stories: list[str] = []
        async with under_load(url, agents=WITH_ROUTES) as report:
            for roll in range(ROLLS):
                for number, component in enumerate(("gateway", "echo", *AGENTS)):
                    stories.append(await asyncio.to_thread(post, url, 100 * roll + number))
                    await asyncio.to_thread(restart, novel, component)
        for location in stories:
            await asyncio.to_thread(wait_until, lambda: finished(url + location), 60, every_s=0.1)  # noqa: B023
            assert await asyncio.to_thread(finish_count, url + location) == 1

        _assert_nothing_lost(report)
        assert novel.interrupt() == 0, novel.output
        novel.assert_nothing_left()


def _assert_nothing_lost(report: Report) -> None:
    told = f"{report.answered} {report.closed} {report.rate_per_s:.0f}/s, slowest {report.slowest_s:.3f} s"
    print(told)
    assert not report.failures, f"{len(report.failures)} failed: {report.failures[:20]}\n{told}"
    assert set(report.answered) == {"get", "post", "streamed", "slow"}
    assert set(report.closed) == {"events", "websocket"}, "no stream was told to close"
