"""The pure core: what is wanted, what was observed, what follows. Knows nothing of I/O, time or chance."""

from control_plane.core.deadlines import next_wake_s
from control_plane.core.effects import (
    Answer,
    Conclude,
    Effect,
    KillHost,
    PlannedEffect,
    SendStart,
    SendStop,
    SpawnHost,
    StopHost,
)
from control_plane.core.graph import find_cycle, front_first, order
from control_plane.core.inputs import (
    BusLost,
    BusRecovered,
    HostDelayed,
    HostExited,
    HostSpared,
    HostSpawned,
    Input,
    Issued,
    SpawnFailed,
    StopAll,
    TimePassed,
)
from control_plane.core.memory import Memory, recalled, remembered
from control_plane.core.placement import place
from control_plane.core.reconciler import Plan, concerns_plan, plan
from control_plane.core.reducer import reduce
from control_plane.core.state import ReplicaRecord, State, initial_state
from control_plane.core.status import (
    component_statuses,
    is_ready,
    is_settled,
    is_stopped,
    log_loss_text,
    warnings,
)

__all__ = [
    "Answer",
    "BusLost",
    "BusRecovered",
    "Conclude",
    "Effect",
    "HostDelayed",
    "HostExited",
    "HostSpared",
    "HostSpawned",
    "Input",
    "Issued",
    "KillHost",
    "Memory",
    "Plan",
    "PlannedEffect",
    "ReplicaRecord",
    "SendStart",
    "SendStop",
    "SpawnFailed",
    "SpawnHost",
    "State",
    "StopAll",
    "StopHost",
    "TimePassed",
    "component_statuses",
    "concerns_plan",
    "find_cycle",
    "front_first",
    "initial_state",
    "is_ready",
    "is_settled",
    "is_stopped",
    "log_loss_text",
    "next_wake_s",
    "order",
    "place",
    "plan",
    "recalled",
    "reduce",
    "remembered",
    "warnings",
]
