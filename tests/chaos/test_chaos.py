"""Two minutes of chaos, the same each time: nothing that dies takes anything else with it."""

from __future__ import annotations

import pytest

from tests.chaos.driver import run_chaos
from tests.chaos.schedule import Kind, make_schedule
from tests.chaos.stage import COMPONENTS, PLACES

SEED = 35
FAULTS = 24

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(420)]


async def test_what_is_accepted_is_finished_and_what_is_untouched_answers_whatever_dies() -> None:
    schedule = make_schedule(SEED, components=COMPONENTS, places=PLACES, count=FAULTS)
    assert {fault.kind for fault in schedule} == set(Kind), "choose a seed that has every kind"

    outcome = await run_chaos(SEED, schedule)

    assert len(outcome.run.injected) == FAULTS
    assert len(outcome.run.stories) > FAULTS
    assert outcome.held, outcome.explain()
