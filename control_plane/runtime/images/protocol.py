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
    """Fork a host; answered by `Forked`."""

    op: Literal["fork"] = "fork"
    spec: HostSpec


Order = Import | Fork

# Reports.


class Awake(Record):
    """What every host needs is imported."""

    type: Literal["awake"] = "awake"


class Begun(Record):
    """The import under way has come to a package that is not the project's own; the outermost of those."""

    type: Literal["begun"] = "begun"
    package: str


class Imported(Record):
    """What came of importing a module.

    `failed`: it raises, which its hosts will report. `unsafe`: it started threads or opened sockets, so this
    image must fork no more. `elsewhere`: it needs a package that another image is for.
    """

    type: Literal["imported"] = "imported"
    module: str
    outcome: Literal["imported", "failed", "unsafe", "elsewhere"]
    duration_s: float = 0.0
    why: str = ""


class Forked(Record):
    """A host has a process, or none could be made: `error` says why."""

    type: Literal["forked"] = "forked"
    host: str
    pid: int | None
    error: str = ""


Report = Awake | Begun | Imported | Forked

_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="op")])
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="type")])


def read_order(line: bytes) -> Order:
    """Read what the anchor orders."""
    return _ORDERS.validate_json(line)


def read_report(line: bytes) -> Report:
    """Read what an image reports."""
    return _REPORTS.validate_json(line)
