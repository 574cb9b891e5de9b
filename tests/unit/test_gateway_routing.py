"""Which prefix a path belongs to, for the gateway and for hosts alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.routing import PrefixTable

TABLE = PrefixTable({"/": "root", "/agents": "agents", "/agents/writer": "writer", "/api/v1": "api"})


def owner(path: str, raw_path: str | None = None, table: PrefixTable[str] = TABLE) -> str | None:
    scope: dict[str, Any] = {"path": path, "raw_path": (raw_path or path).encode()}
    found = table.find(scope)
    return found and found[1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/agents/writer", "writer"),
        ("/agents/writer/", "writer"),
        ("/agents/writer/drafts/1", "writer"),
        ("/agents/critic", "agents"),
        ("/agents", "agents"),
        ("/api/v1/stories", "api"),
        ("/api/v2", "root"),
        ("/", "root"),
    ],
)
def test_longest_prefix_wins(path: str, expected: str) -> None:
    assert owner(path) == expected


@pytest.mark.parametrize(("path", "expected"), [("/agents/writers", "agents"), ("/agentsX", "root")])
def test_a_prefix_ends_at_the_border_of_a_segment(path: str, expected: str) -> None:
    assert owner(path) == expected


def test_an_encoded_slash_is_no_border() -> None:
    assert owner("/agents/writer/x", "/agents/writer%2Fx") == "agents"
    assert owner("/agents/writer/x", "/agents%2fwriter/x") == "root"


def test_an_encoded_slash_below_the_prefix_belongs_to_the_component() -> None:
    assert owner("/agents/writer/a/b", "/agents/writer/a%2Fb") == "writer"


@pytest.mark.parametrize(
    ("path", "raw_path"),
    [
        ("/agents/writer/../critic", None),
        ("/agents/writer/./x", None),
        ("/agents/writer/..", None),
        ("/agents/writer/../critic", "/agents/writer/%2e%2e/critic"),
        ("/agents/writer/../critic", "/agents/writer/..%2Fcritic"),
    ],
)
def test_dot_segments_belong_to_nobody(path: str, raw_path: str | None) -> None:
    assert owner(path, raw_path) is None


def test_names_that_begin_with_a_dot_are_ordinary() -> None:
    assert owner("/agents/writer/.well-known/x..y") == "writer"


def test_a_target_that_is_no_path_belongs_to_nobody() -> None:
    assert owner("*") is None
    assert owner("") is None


def test_without_a_root_the_rest_belongs_to_nobody() -> None:
    assert owner("/elsewhere", table=PrefixTable({"/agents": "agents"})) is None
    assert owner("/agents", table=PrefixTable[str]({})) is None


@given(st.lists(st.sampled_from(["agents", "writer", "api", "v1", "x", ""]), max_size=6))
def test_the_owner_is_the_longest_of_all_prefixes_of_the_path(segments: list[str]) -> None:
    path = "/" + "/".join(segments)
    prefixes = {"": "root", "/agents": "agents", "/agents/writer": "writer", "/api/v1": "api"}
    matching = [prefix for prefix in prefixes if path == prefix or path.startswith(prefix + "/")]
    assert owner(path) == prefixes[max(matching, key=len)]


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (b"shop.localhost", "/items", "shop"),
        (b"SHOP.localhost:8000", "/", "shop"),
        (b"shop.localhost", "/old/items", "old shop"),
        (b"api.localhost", "/v1/x", "api"),
        (b"api.localhost", "/v2", "root"),
        (b"localhost", "/v1", "root"),
        (b"[::1]:80", "/items", "root"),
        (b"shop.localhost", "/../items", None),
    ],
)
def test_a_host_of_its_own_comes_before_what_is_for_any(host: bytes, path: str, expected: str | None) -> None:
    table = PrefixTable(
        {
            "/": "root",
            "//shop.localhost/": "shop",
            "//shop.localhost/old": "old shop",
            "//api.localhost/v1": "api",
        }
    )
    found = table.find({"path": path, "raw_path": path.encode(), "headers": [(b"host", host)]})
    assert (found and found[1]) == expected
    assert found is None or not found[0].startswith("//")


OWN = PrefixTable({"/": "root", "//shop.localhost/": "shop", "//:8001/desk": "desk"})


@pytest.mark.parametrize(
    ("port", "host", "path", "expected"),
    [
        (8001, b"anything", "/desk/1", "desk"),
        (8001, b"anything", "/", "root"),
        (8001, b"shop.localhost", "/", "shop"),
        (8001, b"shop.localhost", "/desk", "desk"),
        (8000, b"anything:8001", "/desk", "root"),
        (None, b"anything", "/desk", "root"),
    ],
)
def test_a_listener_of_its_own_comes_before_hosts(
    port: int | None, host: bytes, path: str, expected: str
) -> None:
    scope: dict[str, Any] = {
        "path": path,
        "raw_path": path.encode(),
        "headers": [(b"host", host), (b"x-forwarded-port", b"8001")],
        "server": ("127.0.0.1", port),
    }
    found = OWN.find(scope)
    assert found is not None
    assert found[1] == expected


def test_behind_a_gateway_its_word_counts_for_the_port() -> None:
    table = PrefixTable({"/": "root", "//:8001/": "desk"}, behind_gateway=True)
    scope: dict[str, Any] = {"path": "/", "raw_path": b"/", "server": ("/h.sock", None)}

    assert table.find({**scope, "headers": []}) == ("", "root")
    assert table.find({**scope, "headers": [(b"x-forwarded-port", b"8001")]}) == ("", "desk")
