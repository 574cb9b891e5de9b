"""Placement: which replica shares a host with which."""

from __future__ import annotations

import pytest

from contracts.specs import Mode
from control_plane.core.placement import ISOLATED, host_key, place
from tests.support.core_steps import component

COMPONENTS = (
    component("gateway"),
    component("writer", replicas=2, group="agents"),
    component("critic", group="agents"),
)


def test_single_mode_has_one_host_for_everything() -> None:
    assert place(Mode.SINGLE, COMPONENTS) == {"local": ("gateway-1", "writer-1", "writer-2", "critic-1")}


def test_multi_mode_has_a_host_for_each_replica() -> None:
    placed = place(Mode.MULTI, COMPONENTS)
    assert placed == {name: (name,) for name in ("gateway-1", "writer-1", "writer-2", "critic-1")}


def test_hybrid_mode_has_a_host_for_each_group_and_for_each_replica_without_one() -> None:
    assert place(Mode.HYBRID, COMPONENTS) == {
        "gateway-1": ("gateway-1",),
        "group.agents": ("writer-1", "writer-2", "critic-1"),
    }


def test_a_group_named_like_a_replica_stays_apart_from_it() -> None:
    placed = place(Mode.HYBRID, (component("writer"), component("critic", group="writer-1")))
    assert placed == {"writer-1": ("writer-1",), "group.writer-1": ("critic-1",)}


def test_auto_must_be_resolved_first() -> None:
    with pytest.raises(ValueError, match="resolved"):
        place(Mode.AUTO, COMPONENTS)


@pytest.mark.parametrize("mode", [Mode.MULTI, Mode.HYBRID])
def test_where_an_operator_moved_a_component_counts_more_than_the_mode(mode: Mode) -> None:
    critic = component("critic", group="agents")
    assert host_key(mode, critic, "critic-1", place="others") == "group.others"
    assert host_key(mode, critic, "critic-1", place=ISOLATED) == "critic-1"


def test_in_single_mode_there_is_no_other_place() -> None:
    assert host_key(Mode.SINGLE, component("critic"), "critic-1", place=ISOLATED) == "local"
