"""Who answers, as endpoints come and go."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from components.gateway.remote import RemoteReplica
from components.gateway.table import Route, Table
from contracts.component import Endpoint

pytestmark = pytest.mark.anyio


async def app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing is asked here")


def local(replica: str, *, ready: bool = True) -> Endpoint:
    component = replica.rpartition("-")[0]
    return Endpoint(component, replica, f"/{component}", ready, app=app)


def route_of(table: Table, component: str) -> Route:
    return next(route for route in table.routes if route.component == component)


def test_replicas_take_turns_when_all_are_idle() -> None:
    route = route_of(Table().renewed([local(f"writer-{n}") for n in (1, 2, 3)]), "writer")
    chosen = [replica.endpoint.replica for _ in range(6) if (replica := route.choose())]
    assert Counter(chosen) == {"writer-1": 2, "writer-2": 2, "writer-3": 2}


def test_the_least_busy_replica_is_chosen() -> None:
    route = route_of(Table().renewed([local(f"writer-{n}") for n in (1, 2, 3)]), "writer")
    for replica, busy in zip(route.replicas, (2, 1, 2), strict=True):
        replica.in_flight = busy
    assert {route.choose() for _ in range(4)} == {route.replicas[1]}


def test_a_replica_that_failed_is_not_chosen_again() -> None:
    route = route_of(Table().renewed([local("writer-1"), local("writer-2")]), "writer")
    first, second = route.replicas
    assert route.choose(besides=[first]) is second
    alone = route_of(Table().renewed([local("writer-1")]), "writer")
    assert alone.choose(besides=alone.replicas) is None


def test_a_replica_that_is_not_ready_gets_nothing_while_another_is() -> None:
    route = route_of(Table().renewed([local("writer-1", ready=False), local("writer-2")]), "writer")
    assert [replica.endpoint.replica for _ in range(3) if (replica := route.choose())] == ["writer-2"] * 3


def test_a_degraded_replica_answers_where_the_ready_ones_gave_no_answer() -> None:
    route = route_of(Table().renewed([local("writer-1", ready=False), local("writer-2")]), "writer")
    degraded, ready = route.replicas
    assert route.choose() is ready
    assert route.choose(besides=[ready]) is degraded


def test_a_degraded_replica_answers_where_none_is_ready() -> None:
    route = route_of(Table().renewed([local("writer-1", ready=False)]), "writer")
    assert route.choose() is not None


def test_a_component_without_replicas_keeps_its_prefix() -> None:
    table = Table().renewed([local("writer-1")]).renewed([])
    assert route_of(table, "writer").prefix == "/writer"
    assert route_of(table, "writer").choose() is None


async def test_a_replica_that_stays_keeps_its_connections() -> None:
    def remote(ready: bool) -> Endpoint:
        return Endpoint("writer", "writer-1", "/writer", ready, "unix:///tmp/none.sock")

    table = Table().renewed([remote(True)])
    renewed = table.renewed([remote(False)])
    [replica] = renewed.replicas
    assert isinstance(replica, RemoteReplica)
    assert {replica} == table.replicas
    assert not replica.endpoint.ready
    await replica.close()
