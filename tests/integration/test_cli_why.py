"""`ctl why` of a real backend."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.backend import backend

CONFIG = """
[components.broken]
use = "why_parts:Broken"
restart = { policy = "never" }

[components.behind]
use = "why_parts:Fine"
depends_on = ["broken"]
"""
PARTS = """
class Fine:
    def __init__(self, context): pass
    async def startup(self): pass
    async def shutdown(self): pass
    def get_routes(self): return None
    def health_check(self): return {"status": "ok"}

class Broken(Fine):
    async def startup(self): raise ValueError("no ink")
"""


class TestWhy:
    def test_what_waits_for_a_failed_component_names_it_and_that_one_names_its_fault(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "ctl.toml").write_text(CONFIG)
        (tmp_path / "why_parts.py").write_text(PARTS)
        with backend(tmp_path / "ctl.toml") as running:
            running.ctl("launch", "--detach", "--mode", "single")
            behind = json.loads(running.ctl("why", "behind", "--json").stdout)
            broken = running.ctl("why", "broken").stdout
            running.ctl("stop")

        assert behind["sentence"].startswith("behind waits for broken, which has failed: E5003")
        assert behind["advice"] == ["ctl why broken"]
        assert broken.startswith("broken has failed: E5003")
        assert "ValueError: no ink" in broken.split("traceback:")[1]
        assert "ctl restart broken" in broken
