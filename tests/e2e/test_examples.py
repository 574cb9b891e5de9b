"""The examples run as their READMEs say, in single and in multi mode, and nobody's code was edited for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.backend import REPOSITORY, Backend, backend
from tests.support.wait import wait_until

EXAMPLES = REPOSITORY / "examples"

both_modes = pytest.mark.parametrize("mode", ["single", "multi"])


def states(made: Backend) -> dict[str, str]:
    """Return the state of each component."""
    status = made.status()
    assert status is not None, made.told()
    return {component["name"]: component["state"] for component in status["components"]}


def lines_of(made: Backend, name: str) -> list[str]:
    """Return what a component has logged and printed, as `ctl logs` shows it."""
    return made.ctl("logs", name).stdout.splitlines()


def in_order(made: Backend, *, code: int = 0) -> None:
    """End the launch as a user does, and look that nothing is left."""
    assert made.interrupt() == code, made.told()
    made.assert_nothing_left()


class TestLegacyAgents:
    @pytest.fixture
    def legacy(self) -> Iterator[Backend]:
        with backend(EXAMPLES / "legacy_agents" / "ctl.toml") as made:
            yield made

    @both_modes
    def test_the_crash_of_one_agent_is_its_own(self, legacy: Backend, mode: str) -> None:
        legacy.start("--mode", mode).until_ready()

        wait_until(lambda: states(legacy)["critic"] == "failed", 20, every_s=0.1)

        found = states(legacy)
        assert {name for name, state in found.items() if state != "ready"} == {"critic"}
        assert "the critic cannot bear it any longer" in legacy.ctl("why", "critic").stdout
        in_order(legacy, code=0)

    @both_modes
    def test_its_log_lines_are_there_once_although_it_configures_logging(
        self, legacy: Backend, mode: str
    ) -> None:
        legacy.start("--mode", mode).until_ready()

        wait_until(lambda: lines_of(legacy, "writer"), 10)
        said = [line for line in lines_of(legacy, "writer") if "agent is at work" in line]
        assert len(said) == 1, said
        assert "writer-1" in said[0]
        assert not [line for line in lines_of(legacy, "writer") if "INFO replica.transitioned" in line]
        in_order(legacy)

    def test_its_signal_handler_is_called_after_ours_where_the_process_is_its_own(
        self, legacy: Backend
    ) -> None:
        legacy.start("--mode", "multi").until_ready()

        os.kill(legacy.replica("writer-1")["pid"], signal.SIGTERM)
        wait_until(lambda: states(legacy)["writer"] == "stopped", 20, every_s=0.1)

        assert any("writer: signal 15" in line for line in lines_of(legacy, "writer"))
        in_order(legacy)

    @both_modes
    def test_every_agent_stops_by_its_own_stop(self, legacy: Backend, mode: str) -> None:
        legacy.start("--mode", mode).until_ready()
        assert legacy.launch is not None
        legacy.launch.send_signal(signal.SIGTERM)
        assert legacy.launch.wait(30) == 0, legacy.told()

        logs = "\n".join(path.read_text() for path in (legacy.home / "logs").glob("*.log"))
        for name in ("director", "writer", "worldsmith"):
            assert f"{name} agent has left after" in logs
        legacy.assert_nothing_left()


def test_each_example_says_what_it_is_and_how_it_is_run() -> None:
    for folder in sorted(path for path in EXAMPLES.iterdir() if path.is_dir()):
        assert (folder / "ctl.toml").is_file(), folder
        assert "ctl launch" in (folder / "README.md").read_text(), folder
