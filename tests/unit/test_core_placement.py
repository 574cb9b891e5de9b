"""Placement: which replica shares a host with which."""

from __future__ import annotations

import pytest

from contracts.specs import Mode
from control_plane.core.placement import place
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
