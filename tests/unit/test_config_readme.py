"""The README's example is a component, and it is as long as the README says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter

from contracts import Component
from control_plane.config import load

pytestmark = pytest.mark.anyio

README = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")


class Counting:
    """A context whose shared state can do the one thing the example asks of it."""

    def __init__(self) -> None:
        self.state = self
        self.counted: dict[str, int] = {}

    async def increment(self, key: str) -> int:
        self.counted[key] = self.counted.get(key, 0) + 1
        return self.counted[key]


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


async def test_example_component_has_fifteen_lines_and_counts() -> None:
    source = block("python")
    assert len([line for line in source.splitlines() if line.strip()]) == 15
    names: dict[str, Any] = {}
    exec(compile(source, "greeter.py", "exec"), names)  # the test is about this very text
    component = names["Greeter"](Counting())
    assert [await component.greet("ada") for _ in range(2)] == [{"ada": 1}, {"ada": 2}]
    assert isinstance(component, Component)
    router = component.get_routes()
    assert isinstance(router, APIRouter)
    assert router.url_path_for("greet", name="ada") == "/ada"


def test_example_configuration_is_valid(tmp_path: Path) -> None:
    (tmp_path / "ctl.toml").write_text(block("toml"))
    greeter = load(environ={}, cwd=tmp_path).settings.components["greeter"]
    assert (greeter.use, greeter.prefix) == ("components.greeter:Greeter", "/agents/greeter")
