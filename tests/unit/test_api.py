"""The API through real sockets, with a control plane that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import BusError, ControlError, CoplaneError, NoControlPlane, NotDoneInTime
from contracts.messages import RestartRequest, ScaleRequest
from control_plane.api.app import create_app
from control_plane.api.guard import guarded
from control_plane.cli.client import ControlClient
from control_plane.launcher import control_servers
from control_plane.runtime.paths import RuntimeDir
from tests.support.fake_control_plane import LEDGER, REPORT, FakeController, serving, status
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

TOKEN = "a-token"


@pytest.fixture
def controller() -> FakeController:
    return FakeController()


@asynccontextmanager
async def owned(controller: FakeController, folder: Path) -> AsyncIterator[ControlClient]:
    """The door of the owner: a Unix socket."""
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        async with serving(create_app(controller, logs=folder), listener):
            yield ControlClient(path, home=folder)


@asynccontextmanager
async def public(controller: FakeController, folder: Path) -> AsyncIterator[int]:
    """The other door: TCP, with a token."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(guarded(create_app(controller, logs=folder), controller, token=TOKEN), listener):
            yield listener.getsockname()[1]


async def blocking(call: Callable[..., Any], *args: Any) -> Any:
    """Run what blocks in a thread: the client is made for a command, which has no event loop."""
    return await asyncio.to_thread(call, *args)


class TestStatus:
    async def test_status_is_what_the_controller_says(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        async with owned(controller, tmp_path) as client:
            assert await blocking(client.get, "/v1/status") == status().model_dump(mode="json")
            assert (await blocking(client.get, "/v1/components"))[0]["name"] == "writer"
            assert (await blocking(client.get, "/v1/components/writer"))["state"] == "ready"

    async def test_unknown_component_is_a_problem_with_the_near_miss(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        async with owned(controller, tmp_path) as client:
            with pytest.raises(
                ControlError, match=r"E3002 unknown component 'wirter'.*Did you mean 'writer'"
            ):
                await blocking(client.get, "/v1/components/wirter")

    async def test_changes_are_streamed_until_the_client_goes_away(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        async with owned(controller, tmp_path) as client:
            events = client.events("/v1/status/stream")
            assert (await blocking(next, events)).data["ready"] is True
            controller.change(status(ready=False))
            assert (await blocking(next, events)).data["ready"] is False

            events.close()

            await eventually(lambda: controller.followers == 0)

    async def test_ledgers_are_listed(self, controller: FakeController, tmp_path: Path) -> None:
        async with owned(controller, tmp_path) as client:
            assert await blocking(client.get, "/v1/streams") == [LEDGER.model_dump()]


class TestRequests:
    async def test_scale_passes_number_and_patience_on(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        async with owned(controller, tmp_path) as client:
            body = {"replicas": 3, "wait_s": 5}
            assert (await blocking(client.post, "/v1/components/writer/scale", body))["accepted"]

        assert controller.requests == [(ScaleRequest(component="writer", replicas=3), 5.0)]

    async def test_an_alias_means_its_component(self, controller: FakeController, tmp_path: Path) -> None:
        writer = controller.current.components[0]
        named = writer.model_copy(update={"aliases": ("w",)})
        controller.change(controller.current.model_copy(update={"components": (named,)}))
        async with owned(controller, tmp_path) as client:
            assert (await blocking(client.get, "/v1/components/w"))["name"] == "writer"
            await blocking(client.post, "/v1/components/w/restart")

        assert controller.requests == [(RestartRequest(component="writer"), None)]

    async def test_a_request_needs_no_body(self, controller: FakeController, tmp_path: Path) -> None:
        async with owned(controller, tmp_path) as client:
            await blocking(client.post, "/v1/components/writer/restart")

        assert controller.requests == [(RestartRequest(component="writer"), None)]

    @pytest.mark.parametrize("body", [{"replicas": -1}, {"replicas": "many"}, {}, {"replicas": 1, "wait": 3}])
    async def test_wrong_bodies_are_refused_with_the_field(
        self, controller: FakeController, tmp_path: Path, body: dict[str, Any]
    ) -> None:
        async with owned(controller, tmp_path) as client:
            with pytest.raises(ControlError, match=r"E3003 .*'(replicas|wait)'"):
                await blocking(client.post, "/v1/components/writer/scale", body)

        assert controller.requests == []

    async def test_the_controllers_refusal_keeps_its_code_and_exit_code(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        controller.failure = ControlError("not done", why="it takes long", fix="wait", code="E3004")
        async with owned(controller, tmp_path) as client:
            with pytest.raises(NotDoneInTime) as caught:
                await blocking(client.post, "/v1/components/writer/restart")

        assert caught.value.as_dict() == controller.failure.as_dict()

    async def test_a_stop_tells_progress_and_then_the_report(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        async with owned(controller, tmp_path) as client:
            lines = client.lines("/v1/stop")
            assert (await blocking(next, lines))["event"] == "progress"
            controller.change(status(ready=False))
            assert (await blocking(next, lines))["status"]["ready"] is False
            controller.drained.set()
            assert await blocking(next, lines) == {
                "event": "stopped",
                "report": REPORT.model_dump(mode="json"),
            }
            assert await blocking(next, lines, None) is None

    async def test_a_failed_stop_ends_with_the_error(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        controller.failure = BusError("gone", code="E4001")
        controller.drained.set()
        async with owned(controller, tmp_path) as client:
            *_, last = await blocking(list, client.lines("/v1/stop"))

        assert (last["event"], last["error"]["code"]) == ("error", "E4001")


class TestEvents:
    async def test_events_carry_their_entry_id_and_readable_data(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        async with owned(controller, tmp_path) as client:
            beat, moved = await blocking(list, client.events("/v1/events"))

        assert (beat.id, beat.event, beat.data["data"]) == ("1-0", "host.heartbeat", {"pid": 7})
        assert moved.data["data"] == "no json"

    @pytest.mark.parametrize(
        "query",
        [
            "type=component.transitioned",
            "component=writer",
            "since=1-0",
            "type=x&type=component.transitioned",
            "last=1",
            "last=9&component=writer",
            "last=9&type=component.transitioned&since=1-0",
        ],
    )
    async def test_events_are_filtered(self, controller: FakeController, tmp_path: Path, query: str) -> None:
        async with owned(controller, tmp_path) as client:
            found = await blocking(list, client.events(f"/v1/events?{query}"))

        assert [event.id for event in found] == ["2-0"]

    @pytest.mark.parametrize("since", ["x", "1-", "-1", "$", "1-0-0"])
    async def test_what_is_no_id_of_an_entry_is_refused(
        self, controller: FakeController, tmp_path: Path, since: str
    ) -> None:
        async with owned(controller, tmp_path) as client:
            with pytest.raises(CoplaneError, match="since"):
                await blocking(list, client.events(f"/v1/events?since={since}"))

    async def test_an_error_on_the_way_is_the_last_event(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        controller.failure = BusError("gone", code="E4001")
        async with owned(controller, tmp_path) as client:
            events = client.events("/v1/events")
            with pytest.raises(BusError, match="E4001 gone"):
                await blocking(list, events)

    async def test_an_entry_may_have_any_type(self, controller: FakeController, tmp_path: Path) -> None:
        controller.entries = [("9-1", {"type": "error", "data": "\ud800"})]
        async with owned(controller, tmp_path) as client:
            (event,) = await blocking(list, client.events("/v1/events"))
        assert (event.event, event.data["data"]) == ("error", "\ud800")

    async def test_logs_are_streamed_as_they_are_written(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        log = tmp_path / "writer-1.out.log"
        log.write_text("one\n")
        async with owned(controller, tmp_path) as client:
            events = client.events("/v1/logs?follow=1&component=writer")
            assert (await blocking(next, events)).data["message"] == "one"
            log.write_text("one\ntwo\n")
            assert (await blocking(next, events)).data["message"] == "two"
            events.close()


class TestTheDoorWithAToken:
    async def test_the_token_opens_it(self, controller: FakeController, tmp_path: Path) -> None:
        async with public(controller, tmp_path) as port:
            assert await blocking(ask, port, {"authorization": f"Bearer {TOKEN}"}) == 200

    @pytest.mark.parametrize(
        "authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer ä"]
    )
    async def test_anything_else_does_not(
        self, controller: FakeController, tmp_path: Path, authorization: str
    ) -> None:
        async with public(controller, tmp_path) as port:
            assert await blocking(ask, port, {"authorization": authorization}) == 401

    async def test_a_token_file_that_was_never_written_opens_nothing(
        self, controller: FakeController, folder: Path
    ) -> None:
        runtime = RuntimeDir.open(folder, {})
        runtime.token.touch()
        with contextlib.closing(control_servers.Doors(runtime, "127.0.0.1", 0)) as doors:
            async with control_servers.serving(controller, runtime, doors):
                port = doors.tcp.getsockname()[1]
                token = runtime.token.read_text()
                assert await blocking(ask, port, {"authorization": "Bearer "}) == 401
                assert await blocking(ask, port, {"authorization": f"Bearer {token}"}) == 200

    @pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "127.0.0.1:8900", "ops.example"])
    async def test_our_own_names_are_answered(
        self, controller: FakeController, tmp_path: Path, name: str
    ) -> None:
        controller.current = status(host="ops.example")
        async with public(controller, tmp_path) as port:
            assert await blocking(ask, port, {"host": name, "authorization": f"Bearer {TOKEN}"}) == 200

    @pytest.mark.parametrize(
        "name", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[", "localhost@evil"]
    )
    async def test_a_rebound_name_is_refused_even_with_the_token(
        self, controller: FakeController, tmp_path: Path, name: str
    ) -> None:
        async with public(controller, tmp_path) as port:
            assert await blocking(ask, port, {"host": name, "authorization": f"Bearer {TOKEN}"}) == 403

    async def test_every_address_is_ours_where_we_listen_on_every_address(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        controller.current = status(host="0.0.0.0")
        async with public(controller, tmp_path) as port:
            assert (
                await blocking(ask, port, {"host": "10.0.0.1:8900", "authorization": f"Bearer {TOKEN}"})
                == 200
            )
            assert (
                await blocking(ask, port, {"host": "evil.example", "authorization": f"Bearer {TOKEN}"}) == 403
            )

    async def test_a_page_of_another_origin_is_refused(
        self, controller: FakeController, tmp_path: Path
    ) -> None:
        async with public(controller, tmp_path) as port:
            own = f"http://127.0.0.1:{port}"
            for origin, expected in [(own, 200), ("http://127.0.0.1:1", 403), ("null", 403)]:
                headers = {"origin": origin, "authorization": f"Bearer {TOKEN}"}
                assert await blocking(ask, port, headers) == expected

    async def test_probes_need_no_token(self, controller: FakeController, tmp_path: Path) -> None:
        async with public(controller, tmp_path) as port:
            assert await blocking(ask, port, {}, "/healthz") == 200
            assert await blocking(ask, port, {}, "/readyz") == 200
            controller.current = status(ready=False)
            assert await blocking(ask, port, {}, "/readyz") == 503


def ask(port: int, headers: dict[str, str], path: str = "/v1/status") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.putrequest("GET", path, skip_host="host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value.encode())
        connection.endheaders()
        answer = connection.getresponse()
        body = json.loads(answer.read())
        assert answer.status < 400 or answer.status == 503 or body["code"] == "E3006"
        return answer.status
    finally:
        connection.close()


class TestNobodyThere:
    @pytest.mark.parametrize("left", ["nothing", "a stale socket"])
    def test_it_is_said_with_the_place_and_the_remedy(self, tmp_path: Path, left: str) -> None:
        path = tmp_path / "control.sock"
        if left == "a stale socket":
            with socket.socket(socket.AF_UNIX) as stale:
                stale.bind(str(path))

        with pytest.raises(NoControlPlane, match=r"E3001 no control plane answers in .*ctl launch"):
            ControlClient(path, home=tmp_path).get("/v1/status")
