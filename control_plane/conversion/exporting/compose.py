"""Writes a Compose file: a service for each component, and a bus where they need one.

Every service runs the project's own image: that of its Dockerfile, else of one that is written here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from contracts.specs import GATEWAY, ComponentSpec, GatewaySpec
from control_plane.config import Loaded
from control_plane.config.problems import redact
from control_plane.conversion.exporting.plan import (
    FILLED,
    Process,
    decimal,
    from_folder,
    not_said,
    processes,
    unique,
)

FILE_NAME = "compose.yaml"
APP_FOLDER = "/app"
BUS_IMAGE = "valkey/valkey:8-alpine"
# Others reach a host by the address that it registers, so this must be the container's own.
_LISTEN = "tcp://$(hostname -i):9000"
_LOOPBACK = re.compile(r"(?://|@)(?:127\.|localhost|\[::1\])")
_RESTARTS = {"always": "always", "on-failure": "on-failure", "never": "no"}
_DOCKERFILE = """\
FROM python:3.12-slim
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir coplane{requirements}
"""


def export(loaded: Loaded, target: Path) -> dict[str, str]:
    """Return the Compose file for the folder `target`.

    Raises:
        ConfigError: PyYAML is not installed (E1006).
    """
    ctl = ("ctl", "--config", f"{APP_FOLDER}/{loaded.path.name}")
    planned = processes(loaded, ctl=ctl)
    bus = unique("bus", {process.name for process in planned}) if _needs_bus(loaded, planned) else ""
    names = {process.name: process for process in planned}
    build = _build(loaded.project, target)  # one object, which YAML writes once
    services: dict[str, Any] = {bus: {"image": BUS_IMAGE, "restart": "on-failure"}} if bus else {}
    for process in planned:
        service = _Service(loaded, process, names=names, bus=bus)
        services[process.name] = {"build": build, **_literal(dict(service.options()))}
    lines = [f"# {remark}" for remark in _remarks(loaded, planned)]
    tree = {"name": loaded.settings.app.name, "services": services}
    text = _dumped(tree)
    return {FILE_NAME: "\n".join([*lines, text])}


def _dumped(tree: Any) -> str:
    try:
        import yaml
    except ImportError as exc:
        raise ConfigError(
            "cannot write a Compose file",
            why="It is YAML, and PyYAML is not installed",
            fix="Run `pip install 'coplane[yaml]'`",
            code="E1006",
        ) from exc

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as they are."""

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        # What may be a number in YAML 1.1 or 1.2 is quoted, whichever is read.
        style = "|" if "\n" in value else '"' if re.match(r"[-+.]*\d|~", value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(tree, Dumper=Dumper, sort_keys=False, width=100, allow_unicode=True)


def _needs_bus(loaded: Loaded, planned: list[Process]) -> bool:
    url = loaded.settings.bus.url
    elsewhere = url.startswith(("redis://", "rediss://")) and not _LOOPBACK.search(url)
    return any(process.hosted for process in planned) and not elsewhere


def _remarks(loaded: Loaded, planned: list[Process]) -> Iterator[str]:
    yield f"Written by `ctl export compose` from {loaded.path.name}. {FILLED}"
    if (loaded.project / "Dockerfile").is_file():
        yield f"The image of the Dockerfile must have the project in {APP_FOLDER}, and Coplane installed."
    else:
        yield "There is no Dockerfile: the image has Python, what the project requires, and no other program."
    if any(process.port for process in planned):
        yield "A program is reached through its port only if it listens on 0.0.0.0 and not on 127.0.0.1."
    if _needs_bus(loaded, planned):
        yield f"The bus is a service here, for containers do not reach {redact(loaded.settings.bus.url)!r}."
    for process in planned:
        yield from not_said(process, restarts=True, health=True)


class _Service:
    """Makes the table of one service."""

    def __init__(self, loaded: Loaded, process: Process, *, names: dict[str, Process], bus: str) -> None:
        self._loaded = loaded
        self._process = process
        self._spec: ComponentSpec = process.spec
        self._names = names
        self._bus = bus if process.hosted else ""

    def options(self) -> Iterator[tuple[str, Any]]:
        """Yield the options in the order that people write them in."""
        spec = self._spec
        yield "command", list(self._command())
        folder = from_folder(spec.cwd or ".", self._loaded.project, self._loaded.project)
        if folder != "." and not self._process.hosted:
            yield "working_dir", os.path.join(APP_FOLDER, folder)
        env = dict(self._process.env)
        if self._process.name == GATEWAY:
            # The container's own; `ports` says where it is reached.
            env |= {"CTL_GATEWAY__HOST": "0.0.0.0", "CTL_GATEWAY__PORT": str(self._gateway_port())}
        if self._bus:
            env["CTL_BUS__URL"] = f"redis://{self._bus}:6379/0"
        if env:
            yield "environment", env
        yield from self._ports()
        if wanted := dict(self._depends_on()):
            yield "depends_on", wanted
        yield from self._supervision()
        if self._process.copies > 1:
            yield "deploy", {"replicas": self._process.copies}

    def _command(self) -> tuple[str, ...]:
        words = self._process.words
        if not self._process.hosted:
            return words
        return ("sh", "-c", f'exec {shlex.join(words)} --listen "{_LISTEN}"')

    def _gateway_port(self) -> int:
        return self._loaded.settings.gateway.port or GatewaySpec().port

    def _ports(self) -> Iterator[tuple[str, Any]]:
        if self._process.name == GATEWAY:
            settings = self._loaded.settings
            address = _published_at(settings.gateway.host)
            yield "ports", [f"{address}{port}:{port}" for port in (self._gateway_port(), *settings.listeners)]
        elif self._process.port and self._process.copies == 1:
            yield "ports", [f"127.0.0.1:{self._process.port}:{self._process.port}"]

    def _depends_on(self) -> Iterator[tuple[str, dict[str, str]]]:
        for name in (*([self._bus] if self._bus else []), *self._process.depends_on):
            checked = name in self._names and _has_check(self._names[name])
            yield name, {"condition": "service_healthy" if checked else "service_started"}

    def _supervision(self) -> Iterator[tuple[str, Any]]:
        spec = self._spec
        policy = _RESTARTS[spec.restart.policy]
        yield "restart", f"{policy}:{spec.restart.max_restarts}" if policy == "on-failure" else policy
        yield "stop_signal", spec.stop_signal
        yield "stop_grace_period", f"{decimal(spec.grace_period_s)}s"
        if spec.pty:
            yield "tty", True
        if spec.limits.memory_mb is not None:
            yield "mem_limit", f"{spec.limits.memory_mb}m"
        if _has_check(self._process):
            yield (
                "healthcheck",
                {
                    "test": ["CMD", *_check(self._process)],
                    "interval": f"{decimal(spec.health.interval_s)}s",
                    "timeout": f"{decimal(spec.health.timeout_s)}s",
                    "start_period": f"{decimal(spec.startup_timeout_s)}s",
                },
            )


def _published_at(host: str) -> str:
    """Return what stands before a published port: Compose takes addresses, and no names."""
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return ""
    return f"[{address}]:" if address.version == 6 else f"{address}:"


def _has_check(process: Process) -> bool:
    spec = process.spec
    return not process.hosted and bool(spec.health.exec or (spec.health.path and process.port))


def _check(process: Process) -> tuple[str, ...]:
    health = process.spec.health
    if health.exec:
        return health.exec
    url = f"http://127.0.0.1:{process.port}{health.path}"
    return ("python", "-c", f"import urllib.request; urllib.request.urlopen({url!r})")


def _build(project: Path, target: Path) -> Any:
    context = from_folder(".", project, target)
    if (project / "Dockerfile").is_file():
        return context
    return {"context": context, "dockerfile_inline": _dockerfile(project)}


def _dockerfile(project: Path) -> str:
    found = [(name, words) for name, words in _REQUIREMENTS if (project / name).is_file()]
    return _DOCKERFILE.format(requirements=found[0][1] if found else "")


_REQUIREMENTS = (("requirements.txt", " -r requirements.txt"), ("pyproject.toml", " ."))


def _literal(value: Any) -> Any:
    """Return the tree with every `$` as Compose takes it for itself."""
    match value:
        case dict():
            return {key: _literal(item) for key, item in value.items()}
        case list():
            return [_literal(item) for item in value]
        case str():
            return value.replace("$", "$$")
    return value
