"""What the anchor and an image say to each other: one JSON object a line, both ways, in order."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from contracts.specs import HostSpec
from control_plane.runtime.anchor_protocol import Record

# Orders.


class Import(Record):
    """Import a module; answered by `Imported`. `avoid` are packages that another image is for."""

    op: Literal["import"] = "import"
    module: str
    avoid: tuple[str, ...] = ()


class Fork(Record):
    """Fork hosts; answered by a `Forked` for each."""

    op: Literal["fork"] = "fork"
    specs: tuple[HostSpec, ...]


Order = Import | Fork

# Reports.


class Awake(Record):
    """What every host needs is imported."""

    type: Literal["awake"] = "awake"


class Begun(Record):
    """The import under way has come to a package that is not the project's own, or is done with it: empty."""

    type: Literal["begun"] = "begun"
    package: str


class Imported(Record):
    """What came of importing a module.

    `failed`: it raises, which its hosts will report. `unsafe`: it started threads or opened sockets.
    `elsewhere`: it needs the package `why`, which another image is for. What `spoils` an image keeps it from
    forking any more.
    """

    type: Literal["imported"] = "imported"
    module: str
    outcome: Literal["imported", "failed", "unsafe", "elsewhere"]
    spoils: bool = False
    duration_s: float = 0.0
    why: str = ""


class Forked(Record):
    """A host has a process, or none could be made: `error` says why."""

    type: Literal["forked"] = "forked"
    host: str
    pid: int | None
    error: str = ""


Report = Awake | Begun | Imported | Forked

# Made when this is imported, before anything is forked: else each process would make its own.
_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="op")])
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="type")])


def read_order(line: bytes) -> Order:
    """Read what the anchor orders."""
    return _ORDERS.validate_json(line)


def read_report(line: bytes) -> Report:
    """Read what an image reports."""
    return _REPORTS.validate_json(line)
