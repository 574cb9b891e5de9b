"""What was found out about a component."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Finding(BaseModel):
    """One component, looked at.

    Attributes:
        kind: what it is taken for; `program` for a command, empty where it cannot be hosted.
        why: by what it was known.
        import_s: how long its module took to import, in seconds.
        facts: how it will be run, each a sentence.
        routes: what an application of Starlette's or FastAPI's declares, as `METHOD /path`.
        hints: what its code does behind one's back, and what that means here.
        error: why it cannot be hosted, as `CoplaneError.as_dict()`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    component: str
    kind: str = ""
    why: str = ""
    import_s: float = 0.0
    facts: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    error: dict[str, object] | None = None
