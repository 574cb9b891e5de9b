"""One system each on the stage: the demo under Coplane, and the same services under a peer.

What is asked of both is the same: how long it took until every service answered, where each answers,
which process it is, and to start again after the supervising process was killed.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import psutil

from contracts.errors import CoplaneError
from control_plane.cli.client import ControlClient
from perf.peers.supervisors import ALL, DECLARED, Peer, Service, prefix
from perf.wire import Target, answers
from tests.support.backend import REPOSITORY, Backend, backend
from tests.support.redis_servers import running_server
from tests.support.wait import wait_until

SERVICES = tuple(DECLARED)
LAUNCH_LIMIT_S = 60.0
POLL_S = 0.005


class Stage(Protocol):
    """One running system; it took `start_s` from its command until every service answered."""

    start_s: float
    place: Backend

    def target(self, service: str) -> Target:
        """Return where the service answers."""
        ...

    def pids(self) -> dict[str, int]:
        """Return the process of each service that is supervised now."""
        ...

    def kill_control(self) -> None:
        """Kill what supervises, and reap it."""
        ...

    def start(self) -> None:
        """Start what supervises; return at once."""
        ...


class Coplane:
    """The demo, through its gateway."""

    def __init__(self, place: Backend, mode: str) -> None:
        self.place = place
        self._mode = mode
        self._gateway = ("127.0.0.1", _free_ports(1)[0])
        place.env["CTL_GATEWAY__PORT"] = str(self._gateway[1])
        began_s = time.perf_counter()
        self.start()
        _until_all_answer(self.target(service) for service in SERVICES)
        self.start_s = time.perf_counter() - began_s

    def target(self, service: str) -> Target:
        """Return the component's own page behind the gateway, the gateway's health for itself."""
        return self._gateway, "/-/health" if service == "gateway" else f"{prefix(service)}/"

    @property
    def bus_socket(self) -> str:
        """Return the path of the embedded bus's socket."""
        return str(self.client.get("/v1/status")["bus"]["url"]).removeprefix("unix://")

    @property
    def client(self) -> ControlClient:
        """Return a client of the control plane."""
        return ControlClient(self.place.home / "control.sock", home=self.place.home)

    def replicas(self) -> dict[str, dict[str, Any]]:
        """Return the only replica of each component, nothing while no control plane answers."""
        try:
            status = self.client.get("/v1/status")
        except CoplaneError:
            return {}
        return {each["name"]: each["replicas"][0] for each in status["components"]}

    def pids(self) -> dict[str, int]:
        """Return the processes of the replicas that are ready."""
        return {name: one["pid"] for name, one in self.replicas().items() if one["state"] == "ready"}

    def kill_control(self) -> None:
        """Kill the launch."""
        assert self.place.launch is not None
        self.place.launch.kill()
        self.place.launch.wait()

    def start(self) -> None:
        """Run `ctl launch`."""
        self.place.start("--mode", self._mode)


class PeerStage:
    """The services under a peer, each at a port of its own; or one service with all that is in them."""

    def __init__(self, place: Backend, peer: Peer, tools: Path, bus_url: str) -> None:
        self.place = place
        names = (ALL,) if peer.in_one_process else SERVICES
        self.services = [
            Service(name, port) for name, port in zip(names, _free_ports(len(names)), strict=True)
        ]
        self._command = peer.command(tools, place.home, self.services)
        self._ports = {service.name: service.port for service in self.services}
        own = {"BUS_URL": bus_url, "PYTHONPATH": str(REPOSITORY), "PM2_HOME": str(place.home / "pm2")}
        self._env = {**place.env, **own}
        began_s = time.perf_counter()
        self.start()
        _until_all_answer(self.target(service) for service in SERVICES)
        self.start_s = time.perf_counter() - began_s

    def target(self, service: str) -> Target:
        """Return the service's own page at its port."""
        if ALL in self._ports:
            return ("127.0.0.1", self._ports[ALL]), "/" if service == "gateway" else f"{prefix(service)}/"
        return ("127.0.0.1", self._ports[service]), "/"

    def pids(self) -> dict[str, int]:
        """Return the processes that listen at the services' ports and descend from the peer."""
        launch = self.place.launch
        assert launch is not None
        names = {port: name for name, port in self._ports.items()}
        return {
            names[port]: pid
            for port, pid in listeners().items()
            if port in names and launch.pid in _ancestors(pid)
        }

    def kill_control(self) -> None:
        """Kill the peer, and not what it supervises."""
        assert self.place.launch is not None
        self.place.launch.kill()
        self.place.launch.wait()

    def start(self) -> None:
        """Run the peer in the foreground of a session of its own."""
        with open(self.place.home / "output.txt", "a") as output:
            self.place.launch = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self.place.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                text=True,
            )


@contextmanager
def coplane(mode: str = "multi") -> Iterator[Coplane]:
    """Launch the demo; it is destroyed afterwards, whatever happened."""
    with backend() as novel:
        yield Coplane(novel, mode)


@contextmanager
def peer_stage(peer: Peer, tools: Path) -> Iterator[PeerStage]:
    """Start the services under a peer, with a Valkey beside them; all is destroyed afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bus = stack.enter_context(running_server("valkey", folder))
        place = stack.enter_context(backend())
        stack.callback(_end, place)
        yield PeerStage(place, peer, tools, bus.url)


def _end(place: Backend) -> None:
    """Kill everything: the peer first, since it starts again what is killed before it."""
    if place.launch is not None:
        place.launch.kill()
        place.launch.wait()

    def kill_the_rest() -> bool:
        left = place.processes()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return not left

    wait_until(kill_the_rest, 10.0)


def listeners() -> dict[int, int]:
    """Return the process that listens at each TCP port."""
    return {
        each.laddr.port: each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.pid and each.laddr
    }


def _ancestors(pid: int) -> set[int]:
    try:
        return {parent.pid for parent in psutil.Process(pid).parents()}
    except psutil.NoSuchProcess:
        return set()


def _until_all_answer(targets: Iterable[Target]) -> None:
    for target in targets:
        wait_until(partial(answers, target), LAUNCH_LIMIT_S, every_s=POLL_S)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]
