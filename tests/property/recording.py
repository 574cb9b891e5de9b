"""Recorded inputs of the core as JSON, and the recording that tests/golden/core/replay.json holds.

`python -m tests.property.recording > tests/golden/core/replay.json` records it anew.
"""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic import TypeAdapter

from contracts.messages import Message, RestartRequest, ScaleRequest, from_fields, to_fields
from contracts.specs import Mode
from control_plane.core import effects, inputs
from control_plane.core.inputs import Input, Issued
from control_plane.core.state import State
from tests.property.world import World
from tests.support.core_steps import component

STATE = TypeAdapter(State)


def encode(event: Input) -> dict[str, Any]:
    """Return an input as JSON: messages in their wire form, the others by the name of their class."""
    if isinstance(event, Message):
        return {"message": to_fields(event)}
    if isinstance(event, Issued):
        effect = event.effect
        return {"issued": type(effect).__name__, **TypeAdapter(type(effect)).dump_python(effect, mode="json")}
    return {"input": type(event).__name__, **TypeAdapter(type(event)).dump_python(event, mode="json")}


def decode(value: dict[str, Any]) -> Input:
    """Return the input that `encode` wrote."""
    fields = dict(value)
    if "message" in fields:
        return cast("Input", from_fields(fields["message"]))
    if "issued" in fields:
        kind = getattr(effects, fields.pop("issued"))
        return Issued(TypeAdapter(kind).validate_python(fields))
    kind = getattr(inputs, fields.pop("input"))
    return cast("Input", TypeAdapter(kind).validate_python(fields))


def story() -> World:
    """Return a world after a launch, crashes, a restart, a lost bus, scaling and a stop."""
    world = World(
        Mode.HYBRID,
        (
            component("outliner"),
            component("writer", depends_on=("outliner",), replicas=2),
            component("critic", depends_on=("writer",), group="agents"),
            component("rewriter", depends_on=("critic",), group="agents"),
        ),
    )
    world.settle(10)
    world.crash("h1-2", signal=9)
    world.settle(5)
    world.hosts["h1-1"].hung = True
    world.settle(10)
    world.ask(RestartRequest(component="critic"))
    world.lose_bus()
    world.settle(10)
    world.recover_bus()
    world.ask(ScaleRequest(component="writer", replicas=1))
    world.settle(20)
    world.stop_all()
    world.settle(20)
    return world


def record() -> str:
    """Return the recording as JSON."""
    world = story()
    steps = [{"now_s": now_s, "jitter": jitter, **encode(event)} for event, now_s, jitter in world.trace]
    first, last = (STATE.dump_python(state, mode="json") for state in (world.first_state, world.state))
    lines = ",\n  ".join(json.dumps(step) for step in steps)
    return f'{{"first": {json.dumps(first)},\n "steps": [\n  {lines}\n ],\n "last": {json.dumps(last)}}}'


if __name__ == "__main__":
    print(record())
