"""Which components take part in a launch, and in which mode."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError
from contracts.specs import BusSpec, ComponentSpec, LegacySpec, Mode, ProfileSpec, Settings
from control_plane.cli.values import names
from control_plane.config import resolve_mode, select
from control_plane.config.legacy import as_before


def settings() -> Settings:
    """A gateway, writer -> outliner -> director, and critic -> director."""
    graph = {
        "gateway": (),
        "director": (),
        "outliner": ("director",),
        "writer": ("outliner",),
        "critic": ("director",),
    }
    components = {name: ComponentSpec(name=name, use="a:B", depends_on=deps) for name, deps in graph.items()}
    profiles = {"minimal": ProfileSpec(components=("critic",)), "bare": ProfileSpec(components=())}
    return Settings(components=components, profiles=profiles)


ALL = {"gateway", "director", "outliner", "writer", "critic"}


@pytest.mark.parametrize(
    ("choice", "taking_part"),
    [
        ({}, ALL),
        ({"names": ["outliner"]}, {"gateway", "outliner", "director"}),
        ({"only": ["writer"]}, {"gateway", "writer", "outliner", "director"}),
        ({"profile": "minimal"}, {"gateway", "critic", "director"}),
        ({"profile": "bare"}, {"gateway"}),
        ({"profile": "minimal", "names": ["outliner"]}, {"gateway", "critic", "director", "outliner"}),
        ({"exclude": ["critic"]}, ALL - {"critic"}),
        ({"exclude": ["gateway"]}, ALL - {"gateway"}),
        ({"only": ["writer"], "exclude": ["outliner"]}, {"gateway", "writer"}),
    ],
)
def test_choice_brings_dependencies_and_the_gateway(choice: Any, taking_part: set[str]) -> None:
    assert set(select(settings(), **choice).components) == taking_part


def test_an_alias_means_its_component_and_a_group_all_of_it() -> None:
    made = settings()
    told = {"gateway": {"aliases": ("api",)}, "writer": {"group": "agents"}, "critic": {"group": "agents"}}
    components = {name: spec.model_copy(update=told.get(name, {})) for name, spec in made.components.items()}
    made = made.model_copy(update={"components": components})

    assert set(select(made, only=["api"]).components) == {"gateway"}
    assert set(select(made, only=["agents"]).components) == ALL
    assert set(select(made, exclude=["agents"]).components) == {"gateway", "director", "outliner"}
    assert set(select(made, only=["agents"], exclude=["critic"]).components) == ALL - {"critic"}
    with pytest.raises(ConfigError, match=r"E1001 .* Did you mean 'agents'.*Known: agents, api, critic"):
        select(made, only=["agent"])


def test_declared_order_is_kept() -> None:
    chosen = select(settings(), only=["writer", "critic"])
    assert list(chosen.components) == ["gateway", "director", "outliner", "writer", "critic"]


def test_component_does_not_wait_for_an_excluded_one() -> None:
    assert select(settings(), exclude=["outliner"]).components["writer"].depends_on == ()


@pytest.mark.parametrize(
    ("choice", "where"),
    [
        ({"names": ["wirter"]}, ""),
        ({"only": ["wirter"]}, " in --only"),
        ({"exclude": ["wirter"]}, " in --exclude"),
    ],
)
def test_unknown_component_gets_the_near_miss(choice: Any, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(settings(), **choice)
    assert str(caught.value) == (
        f"E1001 unknown component 'wirter'{where}. Did you mean 'writer'? "
        'Known: critic, director, gateway, outliner, writer. Run "ctl config show".'
    )


def test_unknown_profile_gets_the_near_miss() -> None:
    with pytest.raises(ConfigError) as caught:
        select(settings(), profile="minimum")
    assert caught.value.code == "E1008"
    assert "Did you mean 'minimal'? Known: bare, minimal" in caught.value.why


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"names": ["writer"], "exclude": ["writer"]}, "'writer' is both named and excluded"),
        ({"exclude": sorted(ALL)}, "nothing is left to launch"),
    ],
)
def test_choice_that_contradicts_itself_is_refused(choice: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        select(settings(), **choice)
    assert (caught.value.code, caught.value.what) == ("E1010", message)


@pytest.mark.parametrize("mode", [Mode.SINGLE, Mode.MULTI, Mode.HYBRID])
def test_mode_that_is_named_is_taken(mode: Mode) -> None:
    assert resolve_mode(mode, is_tty=False, environ={"CI": "1"}) == (mode, "as configured")


@pytest.mark.parametrize(
    ("is_tty", "environ", "bus_url", "mode"),
    [
        (True, {}, "auto", Mode.SINGLE),
        (False, {}, "auto", Mode.MULTI),
        (True, {"CI": "true"}, "auto", Mode.MULTI),
        (True, {"CI": "false"}, "auto", Mode.SINGLE),
        (False, {"CI": "true"}, "memory://", Mode.SINGLE),
    ],
)
def test_auto_follows_terminal_ci_and_bus(
    is_tty: bool, environ: dict[str, str], bus_url: str, mode: Mode
) -> None:
    assert resolve_mode(Mode.AUTO, is_tty=is_tty, environ=environ, bus_url=bus_url)[0] is mode


@pytest.mark.parametrize("text", ["api,agents", " api , agents,", '["api", "agents"]'])
def test_names_come_as_people_and_scripts_write_them(text: str) -> None:
    assert names(text) == ("api", "agents")


@pytest.mark.parametrize("text", ["", ",", "[]", '["api", 1]', '["api"', '[{"a": 1}]'])
def test_what_is_no_list_of_names_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        names(text)


def test_auto_goes_by_the_last_comparison_but_for_a_bus_in_memory() -> None:
    told = (Mode.HYBRID, "by the comparison")
    known: dict[str, Any] = {"is_tty": True, "environ": {"CI": "1"}, "compared": told}
    assert resolve_mode(Mode.AUTO, **known) == (Mode.HYBRID, "auto: by the comparison")
    assert resolve_mode(Mode.AUTO, bus_url="memory://", **known)[0] is Mode.SINGLE
    assert resolve_mode(Mode.MULTI, **known) == (Mode.MULTI, "as configured")


def test_the_way_back_needs_no_bus_and_none_of_our_names(tmp_path: Path) -> None:
    made = settings().model_copy(
        update={
            "bus": BusSpec(url="redis://away"),
            "legacy": LegacySpec(commands={"api": "uvicorn a:b", "agents": ("python", "-m", "agents")}),
        }
    )
    before = as_before(made, tmp_path)
    assert before.bus.url == "memory://"
    commands = {name: spec.command for name, spec in before.components.items()}
    assert commands == {"api": ("sh", "-c", "uvicorn a:b"), "agents": ("python", "-m", "agents")}

    for given, said in (
        ({}, "there are no commands"),
        ({"gateway": "x"}, "is called 'gateway'"),
    ):
        wrong = made.model_copy(update={"legacy": LegacySpec(commands=given)})
        with pytest.raises(ConfigError, match=said):
            as_before(wrong, tmp_path)
