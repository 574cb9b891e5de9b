"""`ctl host`: runs one host here, placed by somebody else: another machine, systemd, Kubernetes."""

from __future__ import annotations

import argparse
import os
import re
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from contracts.specs import ComponentSpec, HostSpec, Settings
    from control_plane.config import Loaded
    from control_plane.runtime.paths import RuntimeDir

NAME = "host"
HELP = "Run one replica of a component in this process."
EXAMPLES = """\
ctl host writer                                  joins the launch of this folder
ctl host writer --replica writer-7 --listen tcp://0.0.0.0:9001
CTL_BUS__URL=redis://bus:6379/0 ctl host writer  joins the backend on that bus
"""
FIRST_NUMBER = 1_000  # a launch places 256 at most


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the component")
    parser.add_argument(
        "--replica", metavar="ID", help="the replica's id (default: NAME and a number of its own)"
    )
    parser.add_argument(
        "--listen",
        metavar="ADDR",
        help="unix:///path or tcp://host:port (default: a socket in the runtime folder)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the host until it is told to stop."""
    from contracts.specs import GATEWAY
    from control_plane.config import load
    from control_plane.runtime.host_main import run_host
    from control_plane.runtime.paths import RuntimeDir
    from control_plane.runtime.ports import bind_all

    path = Path(args.config) if args.config else None
    loaded = load(path, environ=os.environ, cwd=Path.cwd())
    spec = host_spec(args, loaded, RuntimeDir.locate(loaded.project, os.environ))
    RuntimeDir.open(loaded.project, os.environ)  # only now: what is refused leaves no folder behind
    if args.name == GATEWAY:  # no launch has bound the addresses of its clients
        public = tuple(sock.detach() for sock in bind_all(loaded.settings))
        spec = spec.model_copy(update={"public_fds": public})
    os.chdir(spec.project)
    sys.path.insert(0, spec.project)
    exit_code = run_host(spec)
    if exit_code:
        print(f"the host failed; see {Path(spec.home) / 'logs' / f'{spec.label}.log'}", file=sys.stderr)
    return exit_code


def host_spec(args: argparse.Namespace, loaded: Loaded, runtime: RuntimeDir) -> HostSpec:
    """Return the spec of the host that the command line asks for.

    Raises:
        ConfigError: the component is unknown (E1001), the address is none (E1009), or there is no bus to
            share (E1010).
    """
    from contracts.specs import HostSpec, Mode, ReplicaSpec

    component = _component(loaded.settings, args.name)
    node = os.uname().nodename
    replica = args.replica or f"{component.name}-{_own_number(node)}"
    if not re.fullmatch(r"[A-Za-z0-9_.-]*[A-Za-z0-9_-]", replica):  # it names files
        raise ConfigError(f"--replica {replica!r} is no id", fix="Write one such as writer-7", code="E1009")
    host_id = f"{node}-{replica}"
    return HostSpec(
        id=host_id,
        label=replica,
        app=loaded.settings.app.name,
        mode=Mode.MULTI,
        node=node,
        bus_url=_bus_url(loaded.settings, runtime),
        home=str(runtime.home),
        project=str(loaded.project),
        replicas=(ReplicaSpec(id=replica, component=component),),
        listen=_checked(args.listen) if args.listen else f"unix://{runtime.host_socket(host_id)}",
        autostart=True,
    )


def _component(settings: Settings, name: str) -> ComponentSpec:
    if name not in settings.components:
        raise ConfigError(
            f"unknown component '{name}'",
            why=did_you_mean(name, settings.components),
            fix='Run "ctl config show"',
            code="E1001",
        )
    return settings.components[name]


def _own_number(node: str) -> int:
    """Return a number that no other process has, here or elsewhere, and no replica that a launch placed."""
    return FIRST_NUMBER + zlib.crc32(f"{node}/{os.getpid()}".encode())


def _checked(address: str) -> str:
    if not re.fullmatch(r"unix:///.*[^/]|tcp://([^:/@]+|\[[0-9a-fA-F:]+\]):\d{1,5}", address):
        raise ConfigError(
            f"--listen {address!r} is no address", fix="Write unix:///path or tcp://host:port", code="E1009"
        )
    return address


def _bus_url(settings: Settings, runtime: RuntimeDir) -> str:
    if settings.bus.url not in ("auto", "memory://"):
        return settings.bus.url
    if settings.bus.url == "auto" and runtime.bus_socket.is_socket():
        return f"unix://{runtime.bus_socket}"
    raise ConfigError(
        "there is no bus that this host could share with others",
        why="The bus is in memory, or the embedded one of a launch that does not run here",
        fix="Set [bus] url or CTL_BUS__URL, or run `ctl launch --mode multi` in this folder first",
        code="E1010",
    )
