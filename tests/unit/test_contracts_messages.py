"""The wire form of every message: held by the golden files, and readable across versions.

A golden file is what a process of this version writes. When a test here fails because the wire form
was changed on purpose, keep in mind that hosts and control planes of two versions meet during an
upgrade: a new field needs a default, and a field that goes must have had one.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import messages
from contracts.messages import (
    CommandCompleted,
    CommandFailed,
    ComponentRegistered,
    ComponentTransitioned,
    HostHeartbeat,
    HostStopping,
    LoopBlocked,
    MalformedEntry,
    Message,
    MoveRequest,
    ReportHost,
    RestartRequest,
    ScaleRequest,
    StartReplica,
    StartRequest,
    StopReplica,
    StopRequest,
    UnknownMessage,
    from_fields,
    to_fields,
)
from contracts.specs import ComponentSpec
from contracts.status import Health, LogLoss, ReplicaReport, ReplicaState

GOLDEN = Path(__file__).parents[1] / "golden"
AT = datetime(2026, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
HEADER: dict[str, Any] = {
    "component": "writer",
    "replica": "writer-1",
    "node": "local",
    "at": AT,
    "correlation_id": "c-1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
HEALTH = Health(status="ok", latency_ms=0.4, checked_at=AT, detail={"queue": 3})
REQUEST: dict[str, Any] = {**HEADER, "request_id": "r-1", "timeout_s": 5.0}
COMMAND: dict[str, Any] = {**HEADER, "host": "h-3", "command_id": "k-1", "epoch": 2}
EXAMPLES: tuple[Message, ...] = (
    HostHeartbeat(
        **HEADER,
        host="h-3",
        pid=123,
        endpoint="unix:///run/h-3.sock",
        public_url="http://127.0.0.1:8000",
        interval_s=2.0,
        rss_bytes=50_000_000,
        cpu_percent=0.5,
        autostarted=True,
        log_loss=LogLoss(lines=12, reason="No space left on device"),
        replicas=(
            ReplicaReport(
                component="writer",
                replica="writer-1",
                state=ReplicaState.DEGRADED,
                since=datetime(2026, 7, 1, 12, 0, 3, tzinfo=UTC),
                prefix="/agents/writer",
                uptime_s=12.3,
                health=HEALTH,
                reason="queue is long",
                error={"code": "E5005", "what": "owned task crashed"},
            ),
        ),
    ),
    ComponentRegistered(
        **HEADER,
        host="h-3",
        endpoint="unix:///run/h-3.sock",
        prefix="/agents/writer",
        routes=("GET /drafts/{id}",),
        streams=("chapters",),
    ),
    ComponentTransitioned(
        **HEADER,
        host="h-3",
        endpoint="unix:///run/h-3.sock",
        prefix="/agents/writer",
        from_state=ReplicaState.STARTING,
        to_state=ReplicaState.FAILED,
        health=HEALTH,
        reason="startup raised: naïve ☕",
        error={"code": "E5003", "what": "startup raised"},
        permanent=True,
        retry_in_s=0.5,
    ),
    CommandCompleted(**HEADER, host="h-3", command_id="k-1", command="replica.start"),
    CommandFailed(
        **HEADER, host="h-3", command_id="k-1", command="replica.start", error={"code": "E5003", "what": "no"}
    ),
    HostStopping(**HEADER, host="h-3", pid=123, reason="SIGTERM"),
    StartReplica(**COMMAND, spec=ComponentSpec(name="writer", use="agents:Writer")),
    LoopBlocked(
        **HEADER,
        host="h-3",
        duration_ms=412,
        cpu_ms=3,
        culprit="shop/orders.py:41 in Orders.on_order",
        stack='  File "/srv/shop/orders.py", line 41, in on_order\n    time.sleep(0.4)',
        hint="use run_in_thread",
        count=3,
    ),
    StopReplica(**COMMAND, grace_period_s=15.0),
    ReportHost(**COMMAND),
    StartRequest(**REQUEST),
    StopRequest(**REQUEST),
    RestartRequest(**REQUEST, rolling=False),
    ScaleRequest(**REQUEST, replicas=3),
    MoveRequest(**REQUEST, to="isolated"),
)
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.type)


def golden(example: Message) -> dict[str, str]:
    fields: dict[str, str] = json.loads((GOLDEN / f"{example.type}.json").read_text())
    return fields


class TestGoldenFiles:
    @each_example
    def test_the_wire_form_is_the_recorded_one(self, example: Message) -> None:
        assert to_fields(example) == golden(example)

    @each_example
    def test_the_recorded_one_reads_back(self, example: Message) -> None:
        assert from_fields(golden(example)) == example

    def test_every_message_type_has_one_and_nothing_else_does(self) -> None:
        files = {path.stem for path in GOLDEN.glob("*.json")}
        assert files == {example.type for example in EXAMPLES} == set(messages._TYPES)

    @each_example
    def test_an_example_sets_every_field(self, example: Message) -> None:
        """A field at its default could vanish from the wire without a test noticing."""
        left_out = set(type(example).model_fields) - example.model_fields_set - {"type", "v"}
        assert not left_out


class TestOlderVersions:
    @each_example
    def test_fields_that_have_a_default_may_be_missing(self, example: Message) -> None:
        required = {name for name, field in type(example).model_fields.items() if field.is_required()}
        payload = {key: value for key, value in payload_of(example).items() if key in required}
        old = from_fields({"type": example.type, "data": json.dumps(payload)})
        assert type(old) is type(example)
        assert (old.v, old.node, old.component) == (1, "local", "")
        for name in required:
            assert getattr(old, name) == getattr(example, name)

    def test_a_person_may_write_a_request_as_plain_fields(self) -> None:
        typed = {"type": "scale", "component": "writer", "replicas": "3"}
        assert from_fields(typed) == ScaleRequest(component="writer", replicas=3)


class TestNewerVersions:
    @each_example
    def test_unknown_fields_and_a_higher_version_are_no_obstacle(self, example: Message) -> None:
        newer = golden(example)
        newer |= {"v": "7", "shard": "3", "data": json.dumps({**payload_of(example), "colour": {"deep": 1}})}
        assert from_fields(newer) == example.model_copy(update={"v": 7})

    def test_unknown_fields_deep_in_a_heartbeat_are_ignored(self) -> None:
        heartbeat = EXAMPLES[0]
        payload = payload_of(heartbeat)
        payload["replicas"][0] |= {"gpu": 1, "health": {**payload["replicas"][0]["health"], "score": 5}}
        assert from_fields({**golden(heartbeat), "data": json.dumps(payload)}) == heartbeat

    @pytest.mark.parametrize("kind", ["host.vanished", "", "HOST.HEARTBEAT"])
    def test_an_unknown_type_can_be_told_from_a_malformed_entry(self, kind: str) -> None:
        with pytest.raises(UnknownMessage, match="unknown message type"):
            from_fields({"type": kind, "data": "{}"})

    def test_an_entry_without_a_type_is_unknown(self) -> None:
        with pytest.raises(UnknownMessage):
            from_fields({})


class TestMalformedEntries:
    @pytest.mark.parametrize(
        "data", ["{", "[]", '"text"', "null", "3", "\x00", "{}", '{"host": 1}'], ids=repr
    )
    def test_what_is_no_heartbeat_is_malformed(self, data: str) -> None:
        with pytest.raises(MalformedEntry) as caught:
            from_fields({"type": "host.heartbeat", "data": data})
        assert not isinstance(caught.value, UnknownMessage)

    @pytest.mark.parametrize(
        "fields",
        [{"at": "yesterday"}, {"v": "two"}, {"replicas": "-1"}, {"replicas": "257"}, {"replicas": "many"}],
        ids=str,
    )
    def test_a_field_that_does_not_validate_is_malformed(self, fields: dict[str, str]) -> None:
        with pytest.raises(MalformedEntry, match="malformed 'scale' entry"):
            from_fields({"type": "scale", "replicas": "1", **fields})

    @given(st.dictionaries(st.sampled_from([*messages.HEADER, "data", "host"]), st.text(), max_size=9))
    def test_no_entry_raises_anything_else(self, fields: dict[str, str]) -> None:
        for kind in messages._TYPES:
            with suppress(MalformedEntry):
                assert from_fields({**fields, "type": kind}).type == kind

    @pytest.mark.parametrize(
        "data", ["[" * 200_000, '{"replicas": ' + "1" * 10_000 + "}"], ids=["deep", "long"]
    )
    def test_what_makes_the_json_parser_give_up_is_malformed(self, data: str) -> None:
        with pytest.raises(MalformedEntry):
            from_fields({"type": "scale", "data": data})


def payload_of(example: Message) -> dict[str, Any]:
    payload: dict[str, Any] = json.loads(golden(example)["data"])
    return payload
