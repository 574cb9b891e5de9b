"""Images that do not live: what becomes of hosts that wait for them."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Iterator

import pytest

from contracts.specs import ComponentSpec, HostSpec, Mode, ReplicaSpec
from control_plane.runtime.images.nursery import MAX_EARLY_DEATHS, Nursery


class Keeper:
    """An anchor whose images end at once."""

    def __init__(self) -> None:
        self.forked: list[int] = []
        self.refused: list[tuple[str, str]] = []
        self._theirs: list[socket.socket] = []

    def fork_image(self, peer: socket.socket, ours: socket.socket) -> int:
        self._theirs.append(peer.dup())  # an image that says nothing, rather than one whose end is read
        self.forked.append(pid := os.posix_spawn("/bin/true", ["true"], {}))
        return pid

    def born(self, spec: HostSpec, pid: int, *, doomed: bool) -> None:
        raise AssertionError("nobody is there to be forked from")

    def stillborn(self, spec: HostSpec, why: str) -> None:
        self.refused.append((spec.id, why))

    def delayed(self, spec: HostSpec, why: str) -> None:
        raise AssertionError("nothing is imported")

    def close(self) -> None:
        for theirs in self._theirs:
            theirs.close()


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    keeper = Keeper()
    yield keeper
    keeper.close()


def spec(host: str) -> HostSpec:
    component = ComponentSpec(name="sample", use="sample:Sample")
    return HostSpec(
        id=host,
        label=host,
        app="test",
        mode=Mode.MULTI,
        bus_url="memory://",
        home="",
        project="",
        replicas=(ReplicaSpec(id=host, component=component),),
    )


def let_the_last_image_die(keeper: Keeper, nursery: Nursery) -> None:
    pid = keeper.forked[-1]
    os.waitpid(pid, 0)
    assert nursery.ended(pid)


def test_images_that_die_before_they_obey_are_not_made_for_ever(keeper: Keeper) -> None:
    with selectors.DefaultSelector() as selector:
        nursery = Nursery(keeper, selector, ["sample"])
        nursery.bear(spec("one"))

        for _ in range(MAX_EARLY_DEATHS):
            assert keeper.refused == []
            let_the_last_image_die(keeper, nursery)

        assert len(keeper.forked) == MAX_EARLY_DEATHS
        assert keeper.refused == [("one", "the process that is to fork it dies, see anchor.log")]
        nursery.bear(spec("two"))  # whoever asks again gets another chance
        assert len(keeper.forked) == MAX_EARLY_DEATHS + 1
        nursery.close()
        assert [host for host, _ in keeper.refused] == ["one", "two"]
        let_the_last_image_die(keeper, nursery)
        assert len(keeper.forked) == MAX_EARLY_DEATHS + 1
