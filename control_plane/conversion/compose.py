"""Reads a Compose file: one component a service that has a command, and its profiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from control_plane.conversion.compose_service import COMPLETED, Service
from control_plane.conversion.model import Imported, Program, not_carried_over
from control_plane.conversion.naming import Names, renaming, valid
from control_plane.conversion.reading import nothing_in, read_tree, wrong_value

DEFAULT_PROFILE = "default"
_ABOUT_CONTAINERS = ("networks", "volumes", "configs", "secrets", "models")


def read(path: Path) -> Imported:
    """Read a Compose file.

    Raises:
        ConfigError: it cannot be read, or something is wrong in it.
    """
    tree = read_tree(path)
    if not isinstance(tree, dict) or not tree.get("services"):
        raise nothing_in(path, expected="a table `services`, each with a `command`")
    if not isinstance(tree["services"], dict):
        raise wrong_value(path, "services", tree["services"], expected="a table of services")
    services = [Service(path, str(name), value) for name, value in tree["services"].items()]
    _check_names(path, services)
    names = Names()
    given = {service.name: names.give(service.name) for service in services if service.words}
    if not given:
        raise nothing_in(
            path,
            expected="a service of its own code with a `command`; what stands in a Dockerfile is not read",
        )
    programs = _with_shared_ports(
        [_program(service, given, services) for service in services if service.name in given]
    )
    left_out = [service.left_out() for service in services if service.name not in given]
    profiles = _profiles(services, given)
    return Imported(tuple(programs), profiles, (*_remarks(tree), *_told(profiles)), tuple(left_out))


def _check_names(path: Path, services: list[Service]) -> None:
    known = {service.name for service in services}
    for service in services:
        for name in service.depends_on:
            if name not in known:
                where = f"services.{service.name}.depends_on"
                raise wrong_value(
                    path, where, name, expected=f"one of the services: {', '.join(sorted(known))}"
                )


def _program(service: Service, given: dict[str, str], services: list[Service]) -> Program:
    name = given[service.name]
    remarks = [*renaming(service.name, name)]
    depends_on = []
    for other, condition in service.depends_on.items():
        if other not in given:
            why = "it is no component here; start it before"
            remarks.append(not_carried_over(f"depends_on {other}", why))
        elif condition == COMPLETED:
            why = "Coplane waits until a component is ready, not until it has ended; run it before"
            remarks.append(not_carried_over(f"depends_on {other}, {COMPLETED}", why))
        else:
            depends_on.append(given[other])
    program = service.program(name, depends_on=tuple(depends_on), remarks=tuple(remarks))
    if hosts := service.hosts_named({each.name for each in services}):
        from dataclasses import replace

        text = f"Names the service {', '.join(hosts)} as a machine: here that is 127.0.0.1 and its own port."
        return replace(program, remarks=(*program.remarks, text))
    return program


def _with_shared_ports(programs: list[Program]) -> Iterator[Program]:
    """Say where two programs have one port, which only containers can."""
    from dataclasses import replace

    owners: dict[int | str, str] = {}
    for program in programs:
        if program.port is not None and program.port in owners:
            text = (
                f"{owners[program.port]!r} has port {program.port} too, which only containers can: change "
                "one, here and in its command."
            )
            yield replace(program, remarks=(*program.remarks, text))
            continue
        if program.port is not None:
            owners[program.port] = program.name
        yield program


def _profiles(services: list[Service], given: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Return a profile for each of Compose's, with what starts in any, and one with that alone."""
    everywhere = [given[each.name] for each in services if each.name in given and not each.profiles]
    found: dict[str, list[str]] = {}
    for service in services:
        for profile in service.profiles if service.name in given else ():
            found.setdefault(valid(profile), [*everywhere]).append(given[service.name])
    if found and everywhere:
        found.setdefault(DEFAULT_PROFILE, everywhere)
    return {name: tuple(members) for name, members in found.items()}


def _told(profiles: dict[str, tuple[str, ...]]) -> Iterator[str]:
    if DEFAULT_PROFILE in profiles:
        yield (
            "Without a profile everything takes part: `ctl launch --profile default` starts what "
            "`docker compose up` did."
        )


def _remarks(tree: dict[str, Any]) -> Iterator[str]:
    if left := [key for key in _ABOUT_CONTAINERS if tree.get(key)]:
        yield not_carried_over(", ".join(left), "programs run on this machine, without containers")
    if tree.get("include"):
        yield not_carried_over("include", "import each of those files by itself")
