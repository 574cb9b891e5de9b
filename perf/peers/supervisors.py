"""The peers: how each is installed, configured for its fastest documented restart, and started.

Every one runs in the foreground, so that its process id is the one that was started. Nothing is
written outside the temporary folder.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

INSTALL_TIMEOUT_S = 120.0
ALL = "all"  # the service that holds every other one
DECLARED = tomllib.loads((Path(__file__).resolve().parents[2] / "ctl.toml").read_text())["components"]


def prefix(service: str) -> str:
    """Return the path below which a service answers where it shares a port."""
    return str(DECLARED[service].get("prefix", f"/agents/{service}"))


@dataclass(frozen=True)
class Service:
    """One process to supervise: `uvicorn` with one service at a port of its own."""

    name: str
    port: int

    @property
    def command(self) -> list[str]:
        """Return the command line."""
        options = ["--port", str(self.port), "--log-level", "warning", "--no-access-log"]
        return [sys.executable, "-m", "uvicorn", "perf.peers.service:app", *options]


@dataclass(frozen=True)
class Peer:
    """A supervisor: its package, what was set, and its command over a folder where it writes its files."""

    name: str
    package: str
    settings: str
    restarts: bool
    command: Callable[[Path, Path, Sequence[Service]], list[str]]
    in_one_process: bool = False


def install(peer: Peer, tools: Path) -> str:
    """Install the peer below `tools`, if it is not there with our own requirements; return its version.

    Raises:
        subprocess.SubprocessError: its registry does not give it.
    """
    if peer.package == "uvicorn":
        return version("uvicorn")
    if peer.package == "pm2":
        options = ["--silent", "--no-audit", "--no-fund", "--prefix", str(tools)]
        _run("npm", "install", *options, peer.package)
        manifest = tools / "node_modules" / peer.package / "package.json"
        return str(json.loads(manifest.read_text())["version"])
    python = str(tools / "bin" / "python")
    if not Path(python).exists():
        venv.create(tools, with_pip=True)
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", peer.package)
    asks = f"from importlib.metadata import version; print(version('{peer.package}'))"
    return _run(python, "-c", asks).strip()


def _run(*command: str) -> str:
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S
    ).stdout


def _supervisord(tools: Path, home: Path, services: Sequence[Service]) -> list[str]:
    config = home / "supervisord.conf"
    programs = [
        f"[program:{service.name}]\ncommand={shlex.join(service.command)}\nenvironment=SERVICE={service.name}\n"
        "autorestart=true\nstartsecs=0\nstartretries=1000\nstopasgroup=true\nkillasgroup=true\n"
        for service in services
    ]
    head = (
        f"[supervisord]\nlogfile={home}/supervisord.log\npidfile={home}/supervisord.pid\nchildlogdir={home}\n"
    )
    config.write_text("\n".join([head, *programs]))
    return [str(tools / "bin" / "supervisord"), "--nodaemon", "--silent", "--configuration", str(config)]


def _circus(tools: Path, home: Path, services: Sequence[Service]) -> list[str]:
    config = home / "circus.ini"
    watchers = [
        f"[watcher:{service.name}]\ncmd={shlex.join(service.command)}\ncopy_env=True\nrespawn=True\n"
        f"max_retry=-1\nwarmup_delay=0\n[env:{service.name}]\nSERVICE={service.name}\n"
        for service in services
    ]
    sockets = "".join(
        f"{name}=ipc://{home}/{name}.ipc\n" for name in ("endpoint", "pubsub_endpoint", "stats_endpoint")
    )
    head = f"[circus]\ncheck_delay=0.05\nwarmup_delay=0\nlogoutput={home}/circus.log\n{sockets}"
    config.write_text("\n".join([head, *watchers]))
    return [str(tools / "bin" / "circusd"), str(config)]


def _honcho(tools: Path, home: Path, services: Sequence[Service]) -> list[str]:
    # Honcho gives each process a PORT and no environment of its own.
    lines = [
        f"{service.name}: SERVICE={service.name} exec {shlex.join(service.command)}" for service in services
    ]
    (home / "Procfile").write_text("\n".join(lines) + "\n")
    return [str(tools / "bin" / "honcho"), "--procfile", str(home / "Procfile"), "start"]


def _pm2(tools: Path, home: Path, services: Sequence[Service]) -> list[str]:
    apps = [
        {
            "name": service.name,
            "script": service.command[0],
            "args": service.command[1:],
            "interpreter": "none",
            "exec_mode": "fork",
            "autorestart": True,
            "restart_delay": 0,
            "min_uptime": 0,
            "max_restarts": 1000,
            "vizion": False,
            "env": {"SERVICE": service.name},
        }
        for service in services
    ]
    config = home / "ecosystem.config.json"
    config.write_text(json.dumps({"apps": apps}))
    return [str(tools / "node_modules" / ".bin" / "pm2-runtime"), "start", str(config)]


def _by_hand(_tools: Path, home: Path, services: Sequence[Service]) -> list[str]:
    script = home / "start.sh"
    lines = [f"SERVICE={service.name} {shlex.join(service.command)} &" for service in services]
    script.write_text("\n".join([*lines, "wait\n"]))
    return ["sh", str(script)]


FLOOR = Peer("floor", "uvicorn", "one process with every component", False, _by_hand, in_one_process=True)
BY_HAND = Peer("uvicorn", "uvicorn", "a process for each component, from a shell script", False, _by_hand)
PEERS = (
    Peer(
        "supervisord",
        "supervisor",
        "autorestart=true, startsecs=0, startretries=1000",
        True,
        _supervisord,
    ),
    Peer("circus", "circus", "respawn=True, check_delay=0.05, warmup_delay=0, max_retry=-1", True, _circus),
    Peer("pm2", "pm2", "pm2-runtime, fork mode, autorestart, restart_delay 0, vizion off", True, _pm2),
    Peer("honcho", "honcho", "a Procfile; it has no setting for restarts", False, _honcho),
)
