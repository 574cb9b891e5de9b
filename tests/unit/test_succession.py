"""How often an anchor may die."""

from __future__ import annotations

from control_plane.launcher.succession import Deaths


class TestDeaths:
    def test_the_sixth_death_within_a_minute_is_one_too_many(self) -> None:
        deaths = Deaths()

        assert [deaths.one_more_is_too_many(at_s) for at_s in (0, 10, 20, 30, 40, 60)] == [False] * 5 + [True]

    def test_deaths_far_apart_are_forgotten(self) -> None:
        deaths = Deaths()

        assert not any(deaths.one_more_is_too_many(at_s) for at_s in range(0, 1000, 13))
