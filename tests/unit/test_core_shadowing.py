"""Which declared routes another component answers."""

from __future__ import annotations

from contracts.messages import ComponentRegistered
from control_plane.core.shadowing import shadowed_routes
from control_plane.core.status import warnings
from tests.support.core_steps import Core, component

ADDRESSES = {"site": "/", "writer": "/agents/writer", "shop": "//shop.localhost/", "desk": "//:8001/desk"}


def test_a_route_below_a_longer_prefix_is_answered_there() -> None:
    routes = {"site": ["GET /", "GET /agents/writer", "POST /agents/writer/drafts/{number}"]}

    assert list(shadowed_routes(routes, ADDRESSES)) == [
        "'writer' at /agents/writer answers 2 routes of 'site': "
        "GET /agents/writer, POST /agents/writer/drafts/{number}"
    ]


def test_prefixes_end_at_the_borders_of_segments() -> None:
    assert list(shadowed_routes({"site": ["GET /agents/writers", "GET /agents"]}, ADDRESSES)) == []


def test_another_host_or_port_is_another_place() -> None:
    routes = {
        "shop": ["GET //shop.localhost/agents/writer"],
        "desk": ["GET //:8001/desk/agents"],
        "site": ["GET /desk"],
    }
    assert list(shadowed_routes(routes, ADDRESSES)) == []


def test_of_many_routes_some_are_named() -> None:
    routes = {"site": [f"GET /agents/writer/{number}" for number in range(5)]}

    (told,) = shadowed_routes(routes, ADDRESSES)

    assert told.endswith(
        "answers 5 routes of 'site': GET /agents/writer/0, GET /agents/writer/1, GET /agents/writer/2, ..."
    )


def test_the_control_plane_warns_of_what_components_say() -> None:
    core = Core(component("site", prefix="/"), component("writer", prefix="/agents/writer"))
    core.tell(
        ComponentRegistered(component="site", replica="site-1", host="h1-1", routes=("GET /agents/writer/x",))
    )
    (told,) = warnings(core.state)
    assert told == "'writer' at /agents/writer answers 1 route of 'site': GET /agents/writer/x"
