"""Reads one service of a Compose file.

The program runs on this machine and not in a container: what is about containers is told and left.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts.errors import ConfigError
from control_plane.conversion.commands import by_shell
from control_plane.conversion.images import REDIS, SERVERS, base_name
from control_plane.conversion.model import Program, not_carried_over
from control_plane.conversion.naming import valid
from control_plane.conversion.reading import malformed, wrong_value
from control_plane.conversion.references import (
    REFERENCE,
    References,
    filled_by_default,
    split_references,
)
from control_plane.conversion.values import mebibytes, seconds

HEALTH_TIMEOUT_S = 30.0  # Compose's own, as are the next two
HEALTH_INTERVAL_S = 30.0
HEALTH_RETRIES = 3
MAX_REPLICAS = 256
COMPLETED = "service_completed_successfully"
_POLICIES = {"no": "never", "none": "never", "always": "always", "unless-stopped": "always",
             "any": "always", "on-failure": "on-failure"}  # fmt: skip
_KNOWN = {
    "build", "command", "container_name", "depends_on", "deploy", "entrypoint", "env_file", "environment",
    "expose", "healthcheck", "image", "mem_limit", "ports", "profiles", "restart", "scale",
    "stop_grace_period", "stop_signal", "tty", "working_dir", "extends", "pull_policy", "hostname", "init",
    "develop", "platform",
}  # fmt: skip
_TRUE = {"true", "y", "yes", "on", "1"}  # Compose, where it wants a boolean
_PORT = re.compile(r"(?:.*:)?([^:]+?)(?:/(?:tcp|udp))?", re.DOTALL)


class Service:
    """One entry of `services`, its variables as they are to be written."""

    def __init__(self, path: Path, name: str, value: Any) -> None:
        self._path = path
        self.name = name
        if not isinstance(value, dict):
            raise wrong_value(path, f"services.{name}", value, expected="a table")
        references = References()
        try:
            filled = references.fill(value)
        except ValueError as exc:
            raise malformed(path, str(exc), at=f"services.{name}") from exc
        self._service = {key: item for key, item in filled.items() if item is not None}
        self._lost = references.lost
        self._now_fixed: set[str] = set()
        self.image = base_name(self._text("image"))
        self.is_server = self.image in SERVERS and "build" not in self._service
        self.words = () if self.is_server else self._words()
        self.profiles = self._texts("profiles")
        self.depends_on = self._depends_on()

    def left_out(self) -> str:
        """Return the comment that stands in place of a service that is no program here."""
        what = f"service '{self.name}'"
        if self.is_server and self.image in REDIS:
            port = self._published() or self._port() or 6379
            return not_carried_over(
                what,
                f"it is a {self.image} server. Where the components are to use it: "
                f'[bus] url = "redis://127.0.0.1:{port}/0"; without that, Coplane brings one of its own',
            )
        if self.is_server:
            return not_carried_over(what, f"it is a {self.image} server; let it run as it does now")
        fix = f'to run it here: [components.{self.name}] with command = ["PROGRAM", "ARGUMENT"]'
        return not_carried_over(what, f"its command is in its image or Dockerfile, and not here; {fix}")

    def program(self, name: str, *, depends_on: tuple[str, ...], remarks: tuple[str, ...]) -> Program:
        """Return the program under its new name."""
        health = dict(self._health())
        return Program(
            name=name,
            command=self.words,
            cwd=self._folder(),
            env=self._environment(),
            env_file=next(iter(self._env_files()), ""),
            port=self._port(),
            pty=_as_text(self._service.get("tty", "")) in _TRUE,
            replicas=self._replicas() or 1,
            depends_on=depends_on,
            stop_signal=self._signal(),
            grace_period_s=self._seconds("stop_grace_period", self._service),
            startup_timeout_s=self._startup_timeout_s() if health else None,
            memory_mb=self._memory(),
            restart=dict(self._restart()),
            health=health,
            remarks=(*remarks, *self._remarks()),
        )

    def hosts_named(self, services: set[str]) -> list[str]:
        """Return the other services whose names stand in its variables or command as those of machines."""
        texts = [*self._environment().values(), *self.words]
        return [
            name
            for name in sorted(services - {self.name})
            if any(re.search(rf"(?:^|[@/=,]){re.escape(name)}(?::\d|/|$)", text) for text in texts)
        ]

    def _words(self) -> tuple[str, ...]:
        return (*self._line("entrypoint"), *self._line("command"))

    def _line(self, key: str) -> tuple[str, ...]:
        value = self._service.get(key, [])
        if isinstance(value, list):
            return tuple(_as_text(item) for item in value)
        try:
            return split_references(self._text(key))
        except ValueError as exc:
            raise malformed(self._path, str(exc), at=f"services.{self.name}.{key}") from exc

    def _folder(self) -> str:
        build = self._service.get("build", "")
        context = build.get("context", ".") if isinstance(build, dict) else build
        local = isinstance(context, str) and "://" not in context and not context.startswith("git@")
        return str(context) if local else ""

    def _environment(self) -> dict[str, str]:
        value = self._service.get("environment", {})
        if isinstance(value, list):
            pairs = [str(item).partition("=") for item in value]
            return {name: text if equals else f"${{{name}:-}}" for name, equals, text in pairs}
        if not isinstance(value, dict):
            raise self._wrong("environment", value, expected="a table of variables, or a list of NAME=value")
        return {
            str(name): f"${{{name}:-}}" if item is None else _as_text(item) for name, item in value.items()
        }

    def _env_files(self) -> list[str]:
        value = self._service.get("env_file", [])
        items = value if isinstance(value, list) else [value]
        return [str(item.get("path", "")) if isinstance(item, dict) else str(item) for item in items]

    def _ports(self) -> list[str]:
        found = []
        for key in ("ports", "expose"):
            items = self._service.get(key, [])
            if not isinstance(items, list):
                raise self._wrong(key, items, expected="a list")
            for item in items:
                text = item.get("target", "") if isinstance(item, dict) else item
                found.append(str(text))
        return found

    def _port(self) -> int | str | None:
        for text in self._ports():
            kept = REFERENCE.findall(text)
            plain = _PORT.fullmatch(REFERENCE.sub("R", text))
            target = plain[1] if plain else ""
            if target == "R":
                return str(kept[-1])
            if not target.isdecimal() or not 1 <= int(target) <= 65535:
                if re.fullmatch(r"\d+-\d+", target):
                    return int(target.partition("-")[0])
                raise self._wrong("ports", text, expected='a port such as 8000 or "8080:8000"')
            return int(target)
        return None

    def _published(self) -> str:
        """Return the port of this machine that leads to the container's first, "" where there is none."""
        item = next(iter(self._service.get("ports", [])), "")
        if isinstance(item, dict):
            return str(item.get("published", ""))
        parts = re.split(r":(?![^{]*\})", str(item))
        return parts[-2] if len(parts) > 1 else ""

    def _replicas(self) -> int:
        deploy = self._table("deploy")
        value = self._fixed(deploy.get("replicas", self._service.get("scale", 1)))
        if isinstance(value, bool) or not str(value).isdecimal() or int(value) > MAX_REPLICAS:
            raise self._wrong("replicas", value, expected=f"0 to {MAX_REPLICAS}")
        return int(value)

    def _signal(self) -> str:
        text = str(self._fixed(self._text("stop_signal"))).upper()
        if text.isdecimal():
            import signal

            number = int(text)
            text = next((each.name for each in signal.Signals if each == number), "")
            if not text:
                raise self._wrong("stop_signal", number, expected="a signal such as SIGINT")
        return f"SIG{text.removeprefix('SIG')}" if text not in ("", "TERM", "SIGTERM") else ""

    def _memory(self) -> int | None:
        limits = self._table("deploy").get("resources", {})
        limits = limits.get("limits", {}) if isinstance(limits, dict) else {}
        given = self._service.get("mem_limit", limits.get("memory") if isinstance(limits, dict) else None)
        if given is None:
            return None
        size_mb = mebibytes(str(self._fixed(given)))
        if size_mb is None:
            raise self._wrong("mem_limit", given, expected="a size such as 512M")
        return size_mb

    def _restart(self) -> Iterator[tuple[str, Any]]:
        swarm = self._table("deploy").get("restart_policy")
        if isinstance(swarm, dict):
            yield from self._swarm_restart(swarm)
            return
        value = self._service.get("restart")
        if value is None:
            return
        name, _, count = ("no" if value is False else str(self._fixed(value))).partition(":")
        if name not in _POLICIES or (count and not count.isdecimal()):
            raise self._wrong(
                "restart", value, expected='"no", always, unless-stopped, on-failure or on-failure:5'
            )
        yield "policy", _POLICIES[name]
        if count:
            yield "max_restarts", int(count)

    def _swarm_restart(self, policy: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        yield "policy", _POLICIES.get(str(policy.get("condition", "any")), "always")
        if str(policy.get("max_attempts", "")).isdecimal():
            yield "max_restarts", int(policy["max_attempts"])
        for key, option in (("window", "window_s"), ("delay", "backoff_s")):
            duration_s = self._seconds(key, policy)
            if duration_s:
                yield option, duration_s
                if key == "delay" and duration_s > 30:
                    yield "backoff_max_s", duration_s

    def _health(self) -> Iterator[tuple[str, Any]]:
        check = self._table("healthcheck")
        test = check.get("test")
        if test is None or check.get("disable") is True or test in ("NONE", ["NONE"]):
            return
        if isinstance(test, list) and len(test) > 1 and test[0] == "CMD":
            yield "exec", tuple(_as_text(item) for item in test[1:])
        elif isinstance(test, list) and len(test) == 2 and test[0] == "CMD-SHELL":
            yield "exec", by_shell(_as_text(test[1]))
        elif isinstance(test, str):
            yield "exec", by_shell(test)
        else:
            raise self._wrong("healthcheck.test", test, expected="text, or a list that begins with CMD")
        if interval_s := self._seconds("interval", check):
            yield "interval_s", interval_s
        yield "timeout_s", self._seconds("timeout", check) or HEALTH_TIMEOUT_S

    def _startup_timeout_s(self) -> float | None:
        check = self._table("healthcheck")
        start_s = self._seconds("start_period", check)
        if not start_s:
            return None
        # Compose gives up when, after that time, so many checks in a row have failed.
        retries = str(check.get("retries", HEALTH_RETRIES))
        interval_s = self._seconds("interval", check) or HEALTH_INTERVAL_S
        return start_s + interval_s * (int(retries) if retries.isdecimal() else HEALTH_RETRIES)

    def _depends_on(self) -> dict[str, str]:
        value = self._service.get("depends_on", [])
        if isinstance(value, list):
            return {str(name): "service_started" for name in value}
        if not isinstance(value, dict):
            raise self._wrong("depends_on", value, expected="a list or a table of services")
        return {
            str(name): str(item.get("condition", "")) if isinstance(item, dict) else ""
            for name, item in value.items()
        }

    def _remarks(self) -> Iterator[str]:
        service = self._service
        if "build" in service and self._folder() not in ("", "."):
            yield "`cwd` is the folder that its image was built from."
        if "build" in service or "image" in service:
            yield "Its image is not used: what the command needs must be installed on this machine."
        if self._text("working_dir"):
            why = "a folder inside the container; `cwd` is the folder here"
            yield not_carried_over(f"working_dir = {self._text('working_dir')}", why)
        if len(self._ports()) > 1:
            others = ", ".join(self._ports()[1:])
            yield not_carried_over(f"ports {others}", "a component has one port; others stay as they are")
        for file in self._env_files()[1:]:
            first = self._env_files()[0]
            yield not_carried_over(
                f"env_file {file}", f"there can be one; write its lines at the end of {first}"
            )
        if "extends" in service:
            yield not_carried_over("extends", "what it takes from there is missing here")
        for text in self._lost:
            yield not_carried_over(text, "variables are ${NAME} or ${NAME:-default}, not nested")
        for reference in sorted(self._now_fixed):
            yield not_carried_over(reference, "it cannot be a variable here; its default is written")
        if self._replicas() == 0:
            why = f"everything starts; `ctl launch --exclude {valid(self.name)}` leaves it out"
            yield not_carried_over("replicas = 0", why)
        if self._replicas() > 1 and self._port() is not None:
            yield f"{self._replicas()} replicas were containers with a port each; here they share one port."
        left = sorted(key for key in service.keys() - _KNOWN if not key.startswith("x-"))
        if left:
            yield not_carried_over(", ".join(left), "programs run on this machine, without a container")

    def _fixed(self, value: Any) -> Any:
        """Return a value that cannot come from a variable here: what that is by default."""
        if not isinstance(value, str) or not (found := REFERENCE.findall(value)):
            return value
        self._now_fixed |= set(found)
        return filled_by_default(value)

    def _table(self, key: str) -> dict[str, Any]:
        value = self._service.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, value, expected="a table")
        return value

    def _text(self, key: str) -> str:
        value = self._service.get(key, "")
        if isinstance(value, dict | list | bool):
            raise self._wrong(key, value, expected="text")
        return str(value)

    def _texts(self, key: str) -> tuple[str, ...]:
        value = self._service.get(key, [])
        if not isinstance(value, list):
            raise self._wrong(key, value, expected="a list")
        return tuple(str(item) for item in value)

    def _seconds(self, key: str, table: dict[str, Any]) -> float | None:
        if table.get(key) is None:
            return None
        duration_s = seconds(str(self._fixed(table[key])))
        if duration_s is None:
            raise self._wrong(key, table[key], expected="a duration such as 1m30s")
        return duration_s

    def _wrong(self, key: str, value: Any, *, expected: str) -> ConfigError:
        return wrong_value(self._path, f"services.{self.name}.{key}", value, expected=expected)


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
