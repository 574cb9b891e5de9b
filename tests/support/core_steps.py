"""Drive the core by hand in tests: one input at a time, with what it made the supervisor do."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.messages import ComponentTransitioned, HostHeartbeat
from contracts.specs import ComponentSpec, Mode, Settings
from contracts.status import ReplicaReport, ReplicaState
from control_plane.core.deadlines import next_wake_s
from control_plane.core.effects import Answer, Effect
from control_plane.core.inputs import Input, Issued, TimePassed
from control_plane.core.reconciler import plan
from control_plane.core.reducer import reduce
from control_plane.core.state import ReplicaRecord, State, initial_state

INTERVAL_S = 2.0


def component(name: str, **fields: object) -> ComponentSpec:
    """Return a spec with these fields."""
    return ComponentSpec.model_validate({"name": name, "use": "module:Class", **fields})


class Core:
    """A state and a clock; every call tells one input and returns the effects it led to."""

    def __init__(self, *components: ComponentSpec, mode: Mode = Mode.MULTI, epoch: int = 1) -> None:
        settings = Settings(components={spec.name: spec for spec in components})
        self.state: State = initial_state(settings, mode, epoch=epoch)
        self.now_s = 0.0
        self.wake_at_s: float | None = None
        self.answer: Answer | None = None
        self.answers: list[Effect] = []

    def tell(self, event: Input, *, after_s: float = 0.0) -> tuple[Effect, ...]:
        """Reduce an input some time after the last one, plan, and issue the plan."""
        self.now_s += after_s
        self.state, answers = reduce(self.state, event, now_s=self.now_s)
        self.answer = next((effect for effect in answers if isinstance(effect, Answer)), None)
        self.answers += answers
        made = plan(self.state, now_s=self.now_s)
        for effect in made.effects:
            self.state, _ = reduce(self.state, Issued(effect), now_s=self.now_s)
        self.wake_at_s = next_wake_s(self.state)
        return made.effects

    def wait(self, seconds: float) -> tuple[Effect, ...]:
        """Let time pass in silence."""
        return self.tell(TimePassed(), after_s=seconds)

    def beat(
        self, host: str, states: Mapping[str, ReplicaState], *, foreign: bool = False
    ) -> tuple[Effect, ...]:
        """Tell a heartbeat; its replicas are named `component-number`."""
        reports = tuple(
            ReplicaReport(component=name.rpartition("-")[0], replica=name, state=state)
            for name, state in states.items()
        )
        return self.tell(
            HostHeartbeat(host=host, pid=1, interval_s=INTERVAL_S, replicas=reports, autostarted=foreign)
        )

    def move(
        self, host: str, replica: str, state: ReplicaState, *, permanent: bool = False
    ) -> tuple[Effect, ...]:
        """Tell a transition."""
        return self.tell(
            ComponentTransitioned(
                component=replica.rpartition("-")[0],
                replica=replica,
                host=host,
                from_state=self.replica(replica).state,
                to_state=state,
                permanent=permanent,
            )
        )

    def replica(self, name: str) -> ReplicaRecord:
        """Return what is known of a replica."""
        return self.state.observed.replicas[name]

    def run(self, host: str, *replicas: str) -> tuple[Effect, ...]:
        """Let a host come up and its replicas get ready."""
        self.beat(host, dict.fromkeys(replicas, ReplicaState.PENDING))
        return self.beat(host, dict.fromkeys(replicas, ReplicaState.READY))
