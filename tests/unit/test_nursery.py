"""Images that do not live: what becomes of hosts that wait for them."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Callable, Iterator

import pytest

from contracts.specs import ComponentSpec, HostSpec, Mode, ReplicaSpec
from control_plane.runtime.images.nursery import MAX_SHORT_LIVES, Nursery


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
    nursery.act(0.0)


def test_images_that_die_early_are_made_without_modules_and_then_no_more(keeper: Keeper) -> None:
    with selectors.DefaultSelector() as selector:
        nursery = Nursery(keeper, selector, ["sample"])
        nursery.bear(spec("one"))

        for _ in range(2 * MAX_SHORT_LIVES):  # as often with the module, and without
            assert keeper.refused == []
            let_the_last_image_die(keeper, nursery)

        assert keeper.refused == [("one", "the process that is to fork it dies, see anchor.log")]
        assert len(keeper.forked) == 2 * MAX_SHORT_LIVES, "an image was made that nobody asked for"
        nursery.bear(spec("two"))  # whoever asks again gets another chance
        nursery.act(0.0)
        made = len(keeper.forked)
        nursery.close()
        assert [host for host, _ in keeper.refused] == ["one", "two"]
        let_the_last_image_die(keeper, nursery)
        assert len(keeper.forked) == made


def test_a_fork_that_fails_refuses_the_host_and_nothing_else(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_peer: socket.socket, _ours: socket.socket) -> int:
        raise BlockingIOError("no more processes")

    with selectors.DefaultSelector() as selector:
        nursery = Nursery(keeper, selector, [])
        let_the_last_image_die_under(fail, keeper, nursery, monkeypatch)

        nursery.bear(spec("one"))
        nursery.act(0.0)

        assert keeper.refused == [
            ("one", "the process that is to fork it could not be made: no more processes")
        ]
        monkeypatch.undo()
        nursery.bear(spec("two"))
        nursery.act(0.0)
        assert nursery.awaits("two")
        nursery.close()
        let_the_last_image_die(keeper, nursery)


def let_the_last_image_die_under(
    fork: Callable[[socket.socket, socket.socket], int],
    keeper: Keeper,
    nursery: Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "fork_image", fork)
    let_the_last_image_die(keeper, nursery)
