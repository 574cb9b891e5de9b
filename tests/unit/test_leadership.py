"""One control plane leads: the lease between launches of one folder, and of two."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from contracts.errors import BusError, LaunchError
from contracts.state import Lease
from control_plane.launcher.leadership import LEASE, TTL_S, Leadership
from control_plane.stores import MemoryState
from control_plane.stores.leases import Grant
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


class Bus(MemoryState):
    """A bus that may be away, and whose leases can be made to run out or be forgotten."""

    def __init__(self) -> None:
        super().__init__("novel")
        self.away = False
        self.forgets_to_reply = False
        self.kept, self.leases = self.leases, self  # type: ignore[assignment]

    async def grant(self, name: str, ttl_s: float, holder: str = "", heir_of: str = "") -> Grant:
        self._answer()
        grant = await self.kept.grant(name, ttl_s, holder, heir_of)
        if self.forgets_to_reply:
            raise BusError("no reply")
        return grant

    async def renew(self, lease: Lease) -> bool:
        self._answer()
        return await self.kept.renew(lease)

    async def release(self, lease: Lease) -> None:
        self._answer()
        await self.kept.release(lease)

    def _answer(self) -> None:
        if self.away:
            raise BusError("away")


@pytest.fixture
def bus() -> Bus:
    return Bus()


def launch(bus: Bus, folder: Path) -> Leadership:
    """Return the leadership of a launch in that folder."""
    folder.mkdir(exist_ok=True)
    return Leadership("novel", bus, bus, folder=folder, file=folder / "leader")  # type: ignore[arg-type]


async def test_a_second_launch_of_another_folder_is_refused_and_told_by_whom(
    bus: Bus, tmp_path: Path
) -> None:
    first, second = launch(bus, tmp_path / "a"), launch(bus, tmp_path / "b")
    await first.take()
    with pytest.raises(LaunchError, match=rf"E2013 .*novel.*{tmp_path / 'a'}"):
        await second.take()
    assert first.is_certain
    assert not second.is_certain


async def test_the_next_launch_of_the_same_folder_takes_over_from_a_killed_one_at_once(
    bus: Bus, tmp_path: Path
) -> None:
    await launch(bus, tmp_path).take()
    after = launch(bus, tmp_path)
    await after.take()
    assert after.is_certain


@pytest.mark.parametrize("renewing", [False, True])
async def test_a_lease_whose_grant_never_reached_its_holder_is_taken_by_the_next_launch_of_the_folder(
    bus: Bus, tmp_path: Path, renewing: bool
) -> None:
    killed = launch(bus, tmp_path)
    if renewing:
        await killed.take()
        await bus.kept.release(Lease(LEASE, killed._token, TTL_S))  # as if the bus had been emptied
    bus.forgets_to_reply = True
    with pytest.raises(BusError):
        await (killed.confirm() if renewing else killed.take())
    bus.forgets_to_reply = False
    after = launch(bus, tmp_path)
    await after.take()
    assert after.is_certain
    await after.confirm()


async def test_a_leader_to_whom_a_grant_was_not_told_asks_again(bus: Bus, tmp_path: Path) -> None:
    leader = launch(bus, tmp_path)
    await leader.take()
    await bus.kept.release(Lease(LEASE, leader._token, TTL_S))
    bus.forgets_to_reply = True
    with pytest.raises(BusError):
        await leader.confirm()
    bus.forgets_to_reply = False
    await leader.confirm()
    assert leader.is_certain


async def test_who_stops_in_good_order_leaves_the_lease_to_anybody(bus: Bus, tmp_path: Path) -> None:
    first, second = launch(bus, tmp_path / "a"), launch(bus, tmp_path / "b")
    await first.take()
    await first.give_up()
    assert not first.is_certain
    await second.take()


async def test_who_stops_while_the_bus_is_away_leaves_it_to_the_next_launch_of_the_folder(
    bus: Bus, tmp_path: Path
) -> None:
    first = launch(bus, tmp_path)
    await first.take()
    bus.away = True
    await first.give_up()
    bus.away = False
    await launch(bus, tmp_path).take()


async def test_a_leader_who_was_paused_past_its_lease_gives_up_where_another_one_leads(
    bus: Bus, tmp_path: Path
) -> None:
    paused, other = launch(bus, tmp_path / "a"), launch(bus, tmp_path / "b")
    await paused.take()
    await bus.kept.release(Lease(LEASE, paused._token, TTL_S))  # as if it had run out
    await other.take()
    with pytest.raises(LaunchError, match="E2013"):
        await paused.confirm()
    assert not paused.is_certain
    await other.confirm()
    assert other.is_certain


async def test_a_leader_gives_up_where_a_later_launch_of_its_folder_leads(bus: Bus, tmp_path: Path) -> None:
    """Somebody removed the lock of a launch that lives."""
    forgotten, later = launch(bus, tmp_path), launch(bus, tmp_path)
    await forgotten.take()
    await later.take()
    with pytest.raises(LaunchError, match="E2013"):
        await forgotten.confirm()
    await later.confirm()
    assert later.is_certain


async def test_a_copy_of_a_folder_inherits_nothing(bus: Bus, tmp_path: Path) -> None:
    first = launch(bus, tmp_path / "a")
    await first.take()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(LaunchError, match="E2013"):
        await launch(bus, tmp_path / "b").take()
    await first.confirm()


async def test_a_folder_inherits_nothing_from_one_on_another_machine(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a disk that two machines share, or of two that were cloned."""
    await launch(bus, tmp_path).take()
    monkeypatch.setattr("control_plane.launcher.leadership._BOOT_ID", tmp_path / "nowhere")
    with pytest.raises(LaunchError, match="E2013"):
        await launch(bus, tmp_path).take()


async def test_who_stops_before_it_heard_of_a_grant_leaves_the_lease_to_anybody(
    bus: Bus, tmp_path: Path
) -> None:
    leader = launch(bus, tmp_path / "a")
    await leader.take()
    await bus.kept.release(Lease(LEASE, leader._token, TTL_S))  # as if the bus had been emptied
    bus.forgets_to_reply = True
    with pytest.raises(BusError):
        await leader.confirm()
    bus.forgets_to_reply = False
    await leader.give_up()
    await launch(bus, tmp_path / "b").take()


async def test_who_stops_leaves_alone_what_a_later_launch_of_its_folder_holds(
    bus: Bus, tmp_path: Path
) -> None:
    forgotten, later = launch(bus, tmp_path), launch(bus, tmp_path)
    await forgotten.take()
    await later.take()
    await forgotten.give_up()
    await later.confirm()
    await launch(bus, tmp_path).take()  # the later one was killed, and is inherited from


async def test_a_folder_that_cannot_be_written_to_leads_all_the_same(bus: Bus, tmp_path: Path) -> None:
    leader = Leadership("novel", bus, bus, folder=tmp_path, file=tmp_path / "nowhere" / "leader")  # type: ignore[arg-type]
    await leader.take()
    assert leader.is_certain


async def test_a_lease_that_ran_out_or_was_lost_with_the_bus_is_taken_again(bus: Bus, tmp_path: Path) -> None:
    leader = launch(bus, tmp_path)
    await leader.take()
    empty = Bus()
    leader._leases = empty  # a bus that came back without its data
    await leader.confirm()
    assert leader.is_certain
    with pytest.raises(LaunchError, match="E2013"):
        await launch(empty, tmp_path / "b").take()


async def test_keeping_the_lease_outlives_a_bus_that_is_away(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.launcher.leadership.TTL_S", 0.06)
    leader = launch(bus, tmp_path)
    await leader.take()
    bus.away = True
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(leader.keep())
        await eventually(lambda: not leader.is_certain)
        bus.away = False
        await eventually(lambda: leader.is_certain)
        keeping.cancel()
