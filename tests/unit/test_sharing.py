"""Components that share a process cannot want different things of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError
from contracts.specs import ComponentSpec, Mode, Settings
from control_plane.launcher.sharing import check_sharing


def settings(**tables: dict[str, Any]) -> Settings:
    components = {name: ComponentSpec(name=name, **{"use": f"{name}:App", **t}) for name, t in tables.items()}
    return Settings(components=components)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"env": {"TONE": "noir"}}, {"env": {"TONE": "pulp"}}, "different values of TONE"),
        ({"cwd": "/a"}, {"cwd": "/b"}, "different working folders"),
        (
            {"use": "main:app", "pythonpath": ("/a",)},
            {"use": "main:app", "pythonpath": ("/b",)},
            "different packages that are called 'main'",
        ),
        (
            {"exclusive": True, "replicas": 2},
            {},
            "'one' is exclusive, and its replicas would share a process",
        ),
    ],
)
def test_what_clashes_is_refused_where_a_process_is_shared(
    one: dict[str, Any], other: dict[str, Any], said: str
) -> None:
    for mode, group in ((Mode.SINGLE, None), (Mode.HYBRID, "agents")):
        with pytest.raises(ConfigError, match="E1011") as refused:
            check_sharing(settings(one={**one, "group": group}, other={**other, "group": group}), mode)
        assert said in str(refused.value)
        assert "process of its own" in str(refused.value)
    check_sharing(settings(one=one, other=other), Mode.MULTI)


def test_secrets_are_not_shown_and_files_count_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("TOKEN=hunter2\n")
    with pytest.raises(ConfigError) as refused:
        check_sharing(
            settings(one={"env_file": str(tmp_path / "a.env")}, other={"env": {"TOKEN": "x"}}), Mode.SINGLE
        )
    assert "TOKEN" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_programs_share_nothing() -> None:
    check_sharing(
        settings(
            one={"use": "", "command": ("a",), "env": {"A": "1"}, "cwd": "/a"},
            other={"use": "", "command": ("b",), "env": {"A": "2"}, "cwd": "/b"},
        ),
        Mode.SINGLE,
    )
