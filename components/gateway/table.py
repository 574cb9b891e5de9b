"""Who answers which prefix: an immutable table that is swapped whole, and the choice of a replica.

A component that has answered once keeps its prefix while no replica of it is ready, so that its
clients get 503 and not 404.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from components.gateway.local import LocalReplica
from components.gateway.request import Request
from contracts.component import Endpoint
from contracts.routing import PrefixTable, split_address


class Replica(Protocol):
    """Somebody who can answer a request."""

    endpoint: Endpoint
    in_flight: int

    async def answer(self, request: Request) -> None: ...

    async def close(self) -> None: ...


class Route:
    """One component's prefix, and the replicas that answer for it; `port` is its own listener's, if any."""

    def __init__(self, component: str, prefix: str, replicas: Sequence[Replica]) -> None:
        self.component = component
        self.prefix = prefix
        host, _ = split_address(prefix)
        self.port = host[1:].encode() if host.startswith(":") else b""
        self.replicas = tuple(replicas)
        # A degraded replica answers better than nobody.
        self._preferred = tuple(replica for replica in replicas if replica.endpoint.ready) or self.replicas
        self._turn = 0

    def choose(self, *, besides: Sequence[Replica] = ()) -> Replica | None:
        """Return the replica with the fewest requests in flight; equals take turns."""
        replicas = self._without(besides) if besides else self._preferred
        count = len(replicas)
        if count == 1:
            return replicas[0]
        best: Replica | None = None
        for offset in range(count):
            replica = replicas[(self._turn + offset) % count]
            if best is None or replica.in_flight < best.in_flight:
                best = replica
        if best is not None:
            self._turn = (replicas.index(best) + 1) % count
        return best

    def _without(self, besides: Sequence[Replica]) -> Sequence[Replica]:
        for replicas in (self._preferred, self.replicas):
            if left := [replica for replica in replicas if replica not in besides]:
                return left
        return ()


class Table:
    """All routes at one moment."""

    def __init__(self, routes: Iterable[Route] = (), replicas: Iterable[Replica] = ()) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: (route.prefix, route.component)))
        self.by_component = {route.component: route for route in self.routes}
        self.replicas = frozenset(replicas)
        table = PrefixTable({route.prefix: route for route in self.routes})
        self.find_by_host, self.find_for_any = table.find_by_host, table.find_for_any

    def renewed(self, endpoints: Iterable[Endpoint]) -> Table:
        """Return the table of the present endpoints; replicas that stay keep their connections."""
        known = {_place(replica.endpoint): replica for replica in self.replicas if not replica.endpoint.app}
        replicas: list[Replica] = []
        by_component: dict[str, list[Replica]] = {}
        for endpoint in endpoints:
            replica = _replica(endpoint, known)
            replicas.append(replica)
            by_component.setdefault(endpoint.component, []).append(replica)
        routes = {
            component: Route(component, found[0].endpoint.prefix, found)
            for component, found in by_component.items()
        }
        for gone in self.routes:
            routes.setdefault(gone.component, Route(gone.component, gone.prefix, ()))
        return Table(routes.values(), replicas)


def _replica(endpoint: Endpoint, known: Mapping[tuple[str, str], Replica]) -> Replica:
    if endpoint.app is not None:
        return LocalReplica(endpoint, endpoint.app)
    replica = known.get(_place(endpoint)) or _behind_a_socket(endpoint)
    replica.endpoint = endpoint
    return replica


def _behind_a_socket(endpoint: Endpoint) -> Replica:
    # Its clients take a hundredth of a second, which one process alone need not spend.
    from components.gateway.remote import RemoteReplica

    return RemoteReplica(endpoint)


def _place(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.replica, endpoint.address
