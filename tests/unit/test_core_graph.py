"""The dependency graph: levels and cycles."""

from __future__ import annotations

import pytest

from control_plane.core.graph import dependents, find_cycle, front_first, order

STORY = {"director": (), "outliner": ("director",), "critic": ("director",), "writer": ("outliner", "critic")}


def test_names_of_one_level_may_start_together() -> None:
    assert order(STORY) == (("director",), ("critic", "outliner"), ("writer",))


def test_a_dependency_that_takes_no_part_is_not_waited_for() -> None:
    assert order({"writer": ("outliner",)}) == (("writer",),)
    assert find_cycle({"writer": ("outliner",)}) is None


def test_a_cycle_is_named_from_its_first_name_back_to_it() -> None:
    assert find_cycle({"a": ("b",), "b": ("c",), "c": ("b",)}) == ("b", "c", "b")
    assert find_cycle({"a": ("a",)}) == ("a", "a")


def test_names_that_share_a_dependency_are_no_cycle() -> None:
    assert find_cycle(STORY) is None


def test_a_cycle_has_no_order() -> None:
    with pytest.raises(ValueError, match="a, b"):
        order({"a": ("b",), "b": ("a",), "c": ()})


def test_dependents_are_the_direct_ones() -> None:
    assert dependents(STORY)["director"] == ("critic", "outliner")


def test_a_chain_longer_than_the_recursion_limit_is_walked() -> None:
    chain = {str(n): (str(n + 1),) for n in range(5000)}
    assert find_cycle(chain) is None
    assert find_cycle({**chain, "5000": ("0",)}) is not None


def test_the_front_goes_before_everything_behind_it() -> None:
    graph = front_first({"gateway": (), "writer": ("outliner",), "outliner": ()}, "gateway")
    assert graph == {"gateway": ("writer", "outliner"), "writer": ("outliner",), "outliner": ()}


def test_what_depends_on_the_front_however_remotely_goes_before_it() -> None:
    graph = front_first({"probe": ("smoke",), "smoke": ("gateway",), "gateway": (), "writer": ()}, "gateway")
    assert graph["gateway"] == ("writer",)
    assert order(graph) == (("writer",), ("gateway",), ("smoke",), ("probe",))


def test_a_dependency_of_the_front_is_named_once() -> None:
    assert front_first({"gateway": ("writer",), "writer": ()}, "gateway")["gateway"] == ("writer",)


def test_without_a_front_the_graph_stays_as_it_is() -> None:
    assert front_first(STORY, "gateway") == STORY
