"""Routes that one component declares and another one answers, because its prefix is longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from contracts.specs import GATEWAY
from control_plane.core.state import State

_NAMED: Final = 3


def shadowed(state: State) -> Iterator[str]:
    """Yield a sentence for each pair of components of which one answers routes that the other declares."""
    addresses = {
        name: wanted.spec.address for name, wanted in state.desired.components.items() if name != GATEWAY
    }
    yield from shadowed_routes(state.observed.routes, addresses)


def shadowed_routes(routes: Mapping[str, Sequence[str]], addresses: Mapping[str, str]) -> Iterator[str]:
    """Yield the same for routes by component, `METHOD /path` or `METHOD //host/path`, and its address."""
    owners = {address.rstrip("/"): name for name, address in addresses.items()}
    for component, declared in routes.items():
        lost: dict[str, list[str]] = {}
        for route in declared if component in addresses else ():
            address = _longest(route.partition(" ")[2], owners)
            if owners.get(address, component) != component:
                lost.setdefault(address, []).append(route)
        for address, theirs in lost.items():
            named = ", ".join(theirs[:_NAMED]) + (", ..." if len(theirs) > _NAMED else "")
            yield (
                f"'{owners[address]}' at {address} answers {len(theirs)} "
                f"route{'s' if len(theirs) > 1 else ''} of '{component}': {named}"
            )


def _longest(path: str, owners: Mapping[str, str]) -> str:
    while path and path not in owners:
        path = path[: path.rfind("/")]
    return path
