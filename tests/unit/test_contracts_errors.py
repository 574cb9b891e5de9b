"""Errors as users read them, and as they cross a boundary."""

from __future__ import annotations

import subprocess
import sys

import pytest

from contracts.errors import (
    BusError,
    ComponentError,
    ConfigError,
    ControlError,
    CoplaneError,
    ExitCode,
    LaunchError,
    NoControlPlane,
    NotReadyInTime,
    did_you_mean,
)

FULL = ConfigError(
    "unknown component 'wirter'",
    why="Did you mean 'writer'?",
    fix='Run "ctl config show"',
    code="E1001",
    detail="line 1\nline 2",
)


class TestText:
    def test_says_what_happened_why_and_what_to_do_after_the_code(self) -> None:
        text = "E1002 bad TOML. Line 3, column 7. Fix the line."
        assert str(ConfigError("bad TOML", why="line 3, column 7", fix="fix the line.", code="E1002")) == text

    def test_leaves_out_what_is_not_known(self) -> None:
        assert str(BusError("bus unreachable", code="E4001")) == "E4001 bus unreachable."

    def test_keeps_the_detail_for_below(self) -> None:
        assert "line 1" not in str(FULL)
        assert FULL.detail == "line 1\nline 2"

    def test_a_question_ends_as_one(self) -> None:
        assert (
            str(FULL) == "E1001 unknown component 'wirter'. Did you mean 'writer'? Run \"ctl config show\"."
        )


class TestFamilies:
    @pytest.mark.parametrize(
        ("error", "code", "exit_code"),
        [
            (CoplaneError, "E2000", ExitCode.FAILED),
            (ConfigError, "E1000", ExitCode.USAGE),
            (LaunchError, "E2000", ExitCode.FAILED),
            (NotReadyInTime, "E2008", ExitCode.NOT_READY),
            (ControlError, "E3000", ExitCode.FAILED),
            (NoControlPlane, "E3001", ExitCode.NO_CONTROL_PLANE),
            (BusError, "E4000", ExitCode.FAILED),
            (ComponentError, "E5000", ExitCode.FAILED),
        ],
    )
    def test_each_has_its_code_and_exit_code(
        self, error: type[CoplaneError], code: str, exit_code: ExitCode
    ) -> None:
        raised = error("what")
        assert (raised.code, raised.exit_code) == (code, exit_code)

    def test_exit_codes_are_those_of_the_manual(self) -> None:
        assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 130]


class TestCrossingABoundary:
    @pytest.mark.parametrize("error", [FULL, BusError("x"), ComponentError("y", code="E5003", detail="tb")])
    def test_nothing_is_lost(self, error: CoplaneError) -> None:
        back = CoplaneError.from_dict(error.as_dict())
        assert type(back) is type(error)
        assert back.as_dict() == error.as_dict()

    @pytest.mark.parametrize("error", [NotReadyInTime("late"), NoControlPlane("nobody")])
    def test_the_exit_code_crosses_too(self, error: CoplaneError) -> None:
        assert CoplaneError.from_dict(error.as_dict()).exit_code == error.exit_code

    def test_unknown_keys_are_ignored_and_missing_ones_empty(self) -> None:
        back = CoplaneError.from_dict({"code": "E4001", "what": "gone", "retry_in_s": 3, "why": None})
        assert (type(back), back.what, back.why, back.fix) == (BusError, "gone", "", "")

    def test_a_code_of_another_family_is_still_an_error(self) -> None:
        back = CoplaneError.from_dict({"code": "E9001"})
        assert (type(back), str(back)) == (CoplaneError, "E9001 unknown error.")


class TestNearMisses:
    def test_suggests_the_nearest_and_lists_all(self) -> None:
        text = did_you_mean("wirter", ["writer", "gateway", "outliner"])
        assert text == "Did you mean 'writer'? Known: gateway, outliner, writer"

    def test_lists_all_where_none_is_near(self) -> None:
        assert did_you_mean("zzz", ["writer", "gateway"]) == "Known: gateway, writer"

    def test_says_so_where_nothing_is_known(self) -> None:
        assert did_you_mean("zzz", []) == "Known: none"


def test_importing_them_loads_neither_pydantic_nor_fastapi() -> None:
    code = "import sys, contracts.errors; assert not {'pydantic', 'fastapi'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
