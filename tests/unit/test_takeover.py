"""Which anchors that a killed launch has left are taken over as they are."""

from __future__ import annotations

import pytest

from contracts.specs import ComponentSpec, GatewaySpec, HostSpec, Mode, ReplicaSpec, Settings
from control_plane.launcher.takeover import fits
from control_plane.runtime.anchor_protocol import RunningHost, Welcome

SHOP = ComponentSpec(name="shop", use="a:B", prefix="/", port=8001)
URLS = ("http://127.0.0.1:8000", "http://127.0.0.1:8001")


def left(component: ComponentSpec = SHOP, urls: tuple[str, ...] = URLS) -> Welcome:
    spec = HostSpec(
        id="h1-1",
        label="shop-1",
        app="app",
        mode=Mode.MULTI,
        bus_url="unix:///bus.sock",
        replicas=(ReplicaSpec(id="shop-1", component=component),),
    )
    hosts = (RunningHost(spec=spec, pid=7),)
    return Welcome(re=1, anchor_pid=5, app="app", hosts=hosts, bus_pid=6, bus_url="", public_urls=urls)


def declared(*components: ComponentSpec, port: int = 8000) -> Settings:
    return Settings(gateway=GatewaySpec(port=port), components={each.name: each for each in components})


def test_what_a_launch_would_make_the_same_is_taken_over() -> None:
    assert fits(left(), declared(SHOP), Mode.MULTI, bus_url="unix:///bus.sock")
    assert fits(left(), declared(SHOP, port=0), Mode.MULTI, bus_url="unix:///bus.sock")


@pytest.mark.parametrize(
    "settings",
    [
        declared(SHOP, port=8080),
        declared(SHOP.model_copy(update={"port": 8002})),
        declared(SHOP, ComponentSpec(name="desk", use="a:C", prefix="/", port=8002)),
        declared(SHOP.model_copy(update={"replicas": 2})),
        declared(),
    ],
    ids=["gateway", "listener", "one more listener", "declaration", "not declared"],
)
def test_what_it_would_make_otherwise_is_not(settings: Settings) -> None:
    assert not fits(left(), settings, Mode.MULTI, bus_url="unix:///bus.sock")


def test_another_bus_or_mode_is_another_backend() -> None:
    assert not fits(left(), declared(SHOP), Mode.MULTI, bus_url="redis://elsewhere")
    assert not fits(left(), declared(SHOP), Mode.HYBRID, bus_url="unix:///bus.sock")
    assert not fits(left(), declared(SHOP), Mode.SINGLE, bus_url="unix:///bus.sock")
