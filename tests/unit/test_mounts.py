"""Applications below prefixes, and the wall around each of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse

from contracts.component import AsgiApp
from contracts.errors import ConnectionBroken
from control_plane.runtime.mounts import Guard, Mount, MountTable
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


class Client:
    """Calls an application in this process and keeps what it sends."""

    def __init__(
        self, path: str = "/x", *, kind: str = "http", extensions: dict[str, Any] | None = None
    ) -> None:
        self.scope: dict[str, Any] = {
            "type": kind,
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"backend")],
            "scheme": "http",
            "extensions": extensions or {},
        }
        self.sent: list[dict[str, Any]] = []
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if kind == "http":
            self.incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    async def ask(self, app: AsgiApp) -> Client:
        await app(self.scope, self.incoming.get, self._send)
        return self

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


class Errors(list[tuple[str, BaseException]]):
    def record(self, component: str, exc: BaseException) -> None:
        self.append((component, exc))


def guarded(app: AsgiApp, errors: Errors | None = None) -> Guard:
    return Guard(
        app, component="writer", replica="writer-1", on_error=(Errors() if errors is None else errors).record
    )


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("ok")(scope, receive, send)


class TestMountTable:
    async def test_a_mounted_application_makes_urls_with_its_prefix(self) -> None:
        app = FastAPI()

        @app.get("/drafts/{number}")
        async def draft(request: Request, number: int) -> dict[str, str]:
            return {"url": str(request.url), "self": str(request.url_for("draft", number=2))}

        client = await Client("/agents/writer/drafts/1").ask(MountTable({"/agents/writer": app}))
        assert json.loads(client.body) == {
            "url": "http://backend/agents/writer/drafts/1",
            "self": "http://backend/agents/writer/drafts/2",
        }

    async def test_the_application_sees_the_full_path_and_its_prefix_as_root_path(self) -> None:
        seen: list[tuple[str, str]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append((scope["path"], scope["root_path"]))
            await ok(scope, receive, send)

        await Client("/a/b").ask(MountTable({"/a": app}))
        await Client("/b").ask(MountTable({"/": app}))
        assert seen == [("/a/b", "/a"), ("/b", "")]

    async def test_a_path_of_nobody_is_a_problem(self) -> None:
        client = await Client("/nowhere").ask(MountTable({"/a": ok}))
        assert client.status == 404
        assert client.headers[b"content-type"] == b"application/problem+json"
        assert json.loads(client.body)["code"] == "E5014"

    async def test_a_websocket_of_nobody_is_refused(self) -> None:
        told = await Client("/n", kind="websocket", extensions={"websocket.http.response": {}}).ask(
            MountTable({})
        )
        assert (told.sent[0]["type"], told.status) == ("websocket.http.response.start", 404)
        silent = await Client("/n", kind="websocket").ask(MountTable({}))
        assert silent.sent[0]["type"] == "websocket.close"


class TestMount:
    async def test_it_is_at_its_address_whatever_host_or_port_that_names(self) -> None:
        seen: list[tuple[str, str]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append((scope["path"], scope["root_path"]))
            await ok(scope, receive, send)

        await Client("/a").ask(Mount("/a", app))
        await Client("/b").ask(Mount("//:8001/", app))
        assert seen == [("/a/", "/a"), ("/b", "")]

    async def test_dot_segments_reach_nobody(self) -> None:
        client = await Client("/a/../b").ask(Mount("/a", ok))
        assert client.status == 404


class TestFaults:
    @pytest.mark.parametrize("fault", [ValueError("boom"), SystemExit(3)])
    async def test_what_a_route_raises_is_reported_and_answered(self, fault: BaseException) -> None:
        errors = Errors()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise fault

        client = await Client().ask(guarded(app, errors))
        assert errors == [("writer", fault)]
        assert client.status == 500
        assert json.loads(client.body)["code"] == "E5006"
        assert b"boom" not in client.body

    async def test_an_unhandled_error_in_fastapi_gives_the_same_bytes(self) -> None:
        """Starlette answers by itself before it raises again; its answer is replaced."""
        errors = Errors()
        app = FastAPI()

        @app.get("/x")
        async def route() -> None:
            raise ValueError("boom")

        async def plain(scope: Any, receive: Any, send: Any) -> None:
            raise ValueError("boom")

        client = await Client().ask(guarded(app, errors))
        assert client.sent == (await Client().ask(guarded(plain))).sent
        assert len(errors) == 1

    async def test_the_applications_own_handler_has_the_last_word(self) -> None:
        errors = Errors()
        app = FastAPI()

        @app.get("/x")
        async def route() -> None:
            raise ValueError("boom")

        @app.exception_handler(Exception)
        async def handler(request: Request, exc: Exception) -> JSONResponse:
            return JSONResponse({"mine": True}, 500)

        client = await Client().ask(guarded(app, errors))
        assert json.loads(client.body) == {"mine": True}
        assert [name for name, _ in errors] == ["writer"]

    async def test_an_answer_that_only_looks_like_starlettes_passes(self) -> None:
        client = await Client().ask(guarded(PlainTextResponse("Internal Server Error", 500)))
        assert client.headers[b"content-type"].startswith(b"text/plain")
        client = await Client().ask(guarded(PlainTextResponse("twenty-one characters", 500)))
        assert client.body == b"twenty-one characters"

    async def test_an_answer_that_had_begun_is_broken_off(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise ValueError("boom")

        client = Client()
        with pytest.raises(ConnectionBroken):
            await client.ask(guarded(app))
        assert client.body == b"half"

    async def test_an_application_that_does_not_answer_is_at_fault(self) -> None:
        errors = Errors()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            return

        client = await Client().ask(guarded(app, errors))
        assert client.status == 500
        assert isinstance(errors[0][1], RuntimeError)

    async def test_a_fault_after_the_whole_answer_is_only_reported(self) -> None:
        errors = Errors()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await ok(scope, receive, send)
            raise ValueError("in a background task")

        client = await Client().ask(guarded(app, errors))
        assert client.body == b"ok"
        assert len(errors) == 1

    async def test_cancellation_passes(self) -> None:
        errors = Errors()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await Client().ask(guarded(app, errors))
        assert not errors

    async def test_a_fault_in_a_websocket_closes_it_with_1011(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            raise ValueError("boom")

        client = await Client(kind="websocket").ask(guarded(app))
        assert client.sent[-1] == {"type": "websocket.close", "code": 1011, "reason": ""}


class TestDrain:
    async def test_what_is_in_flight_finishes_and_new_requests_are_refused(self) -> None:
        go_on = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()
            await ok(scope, receive, send)

        guard = guarded(app)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(Client().ask(guard))
            await eventually(lambda: guard.in_flight == 1)
            guard.drain()
            refused = await Client().ask(guard)
            assert not await guard.wait_idle(0.01)
            go_on.set()
            assert await guard.wait_idle(5)
        assert running.result().body == b"ok"
        assert refused.status == 503
        assert refused.headers[b"retry-after"] == b"1"
        assert refused.headers[b"coplane-refused"] == b"writer-1"
        assert json.loads(refused.body)["code"] == "E5010"

    async def test_until_it_refuses_it_answers_and_only_streams_end(self) -> None:
        async def stream(scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await receive()
            while (await receive())["type"] != "http.disconnect":
                pass

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await (stream if scope["path"] == "/stream" else ok)(scope, receive, send)

        guard = guarded(app)
        guard.close_streams()
        assert (await Client().ask(guard)).body == b"ok"
        async with asyncio.timeout(5):
            ended = await Client("/stream").ask(guard)
        assert ended.sent[-1] == {"type": "http.response.body", "body": b""}

    async def test_a_websocket_that_comes_late_is_accepted_before_it_is_closed(self) -> None:
        """So that its client is told to come again, and its application hears of no oddity."""
        errors = Errors()
        app = FastAPI()

        @app.websocket("/x")
        async def talk(socket: WebSocket) -> None:
            await socket.accept()
            await socket.receive_text()

        guard, client = guarded(app, errors), Client(kind="websocket")
        client.incoming.put_nowait({"type": "websocket.connect"})
        guard.close_streams()
        async with asyncio.timeout(5):
            await client.ask(guard)
        assert [message["type"] for message in client.sent] == ["websocket.accept", "websocket.close"]
        assert client.sent[-1]["code"] == 1012
        assert not errors

    async def test_quiet_begins_when_the_last_request_was_a_while_ago(self) -> None:
        guard = guarded(ok)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(guard.wait_quiet(0.1, limit_s=60))
            for _ in range(15):
                await Client().ask(guard)
                await asyncio.sleep(0.02)
            assert not waiting.done()
            async with asyncio.timeout(5):
                await waiting

    async def test_who_never_stops_asking_is_not_waited_for(self) -> None:
        guard = guarded(ok)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(guard.wait_quiet(0.05, limit_s=0.2))
            async with asyncio.timeout(5):
                while not waiting.done():
                    await Client().ask(guard)
                    await asyncio.sleep(0)

    async def test_an_idle_guard_is_idle_at_once(self) -> None:
        assert await guarded(ok).wait_idle(0)

    @pytest.mark.parametrize("drain_first", [True, False])
    async def test_an_event_stream_ends_in_order(self, drain_first: bool) -> None:
        """Also one whose answer begins only after the drain did."""
        begin = asyncio.Event()
        left: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await begin.wait()
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            left.append(await receive())

        guard, client = guarded(app), Client()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.ask(guard))
            await eventually(lambda: guard.in_flight == 1)
            if drain_first:
                guard.drain()
            begin.set()
            await eventually(lambda: client.sent)
            if not drain_first:
                guard.drain()
            assert await guard.wait_idle(5)
        assert left == [{"type": "http.disconnect"}]
        assert client.sent[-1] == {"type": "http.response.body", "body": b""}

    async def test_a_websocket_is_closed_with_1012(self) -> None:
        left: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            left.append(await receive())

        guard, client = guarded(app), Client(kind="websocket")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.ask(guard))
            await eventually(lambda: client.sent)
            guard.drain()
            assert await guard.wait_idle(5)
        assert left[0]["code"] == 1012
        assert client.sent[-1]["code"] == 1012

    async def test_a_cancellation_during_the_drain_is_not_taken_for_a_departure(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            await receive()
            raise AssertionError("the request was cancelled, the client did not leave")

        guard, client = guarded(app), Client(kind="websocket")
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(client.ask(guard))
            await eventually(lambda: client.sent)
            running.cancel()
            guard.drain()
        assert running.cancelled()

    async def test_one_that_only_sends_is_stopped_at_its_next_message(self) -> None:
        tick = asyncio.Event()
        errors = Errors()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "websocket.accept"})
            await tick.wait()
            await send({"type": "websocket.send", "text": "tick"})

        guard, client = guarded(app, errors), Client(kind="websocket")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.ask(guard))
            await eventually(lambda: client.sent)
            guard.drain()
            tick.set()
            assert await guard.wait_idle(5)
        assert client.sent[-1]["code"] == 1012
        assert not errors
