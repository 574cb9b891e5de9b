"""A component's routes answer as if FastAPI had included their router."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.requests import HTTPConnection
from opentelemetry import trace

from contracts.errors import ConnectionBroken
from contracts.routing import OPENAPI
from control_plane.runtime import component_app
from control_plane.runtime.component_app import ComponentApp
from control_plane.runtime.mounts import Guard
from tests.support.asking import asked

pytestmark = pytest.mark.anyio


def counted(connection: HTTPConnection) -> None:
    connection.state.counted = True


def a_router() -> APIRouter:
    router, nested = APIRouter(prefix="/v1", dependencies=[Depends(counted)]), APIRouter()

    @router.get("/items/{number}", name="item")
    async def item(number: int, request: Request) -> dict[str, Any]:
        path = request.url_for("item", number=number + 1).path
        return {"counted": request.state.counted, "next": path, "app": request.app.title}

    @router.get("/refused")
    async def refused() -> None:
        raise HTTPException(409, "not now")

    @nested.post("/deep")
    async def deep(body: dict[str, int]) -> dict[str, int]:
        return body

    router.include_router(nested, prefix="/nested")
    return router


def included(router: APIRouter) -> FastAPI:
    app = FastAPI(title="writer", openapi_url="/openapi.json", docs_url=None, redoc_url=None)
    app.include_router(router)
    return app


@pytest.fixture(params=["ours", "included"])
def app(request: pytest.FixtureRequest) -> FastAPI | ComponentApp:
    router = a_router()
    return ComponentApp(router, title="writer") if request.param == "ours" else included(router)


async def test_routes_dependencies_and_urls(app: FastAPI | ComponentApp) -> None:
    item = await asked(app, "GET", "/v1/items/1")
    assert item.json() == {"counted": True, "next": "/v1/items/2", "app": "writer"}
    assert (await asked(app, "POST", "/v1/nested/deep", {"a": 1})).json() == {"a": 1}
    assert (await asked(app, "GET", "/v1/items/1/")).status == 307


async def test_refusals(app: FastAPI | ComponentApp) -> None:
    assert (await asked(app, "GET", "/v1/items/one")).status == 422
    assert (await asked(app, "GET", "/v1/refused")).json() == {"detail": "not now"}
    assert (await asked(app, "DELETE", "/v1/items/1")).status == 405
    assert (await asked(app, "GET", "/nowhere")).json() == {"detail": "Not Found"}


def behind_a_wall(router: APIRouter, errors: list[BaseException]) -> Guard:
    return Guard(
        ComponentApp(router, title="writer"),
        component="writer",
        replica="writer-1",
        on_error=lambda _, exc: errors.append(exc),
    )


async def raising(scope: Any, receive: Any, send: Any) -> None:
    """Raise what a handler is for, at `/begun` after the answer has begun."""
    if scope["path"].endswith("/begun"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
    raise HTTPException(418, "short and stout")


async def test_what_an_application_below_raises_is_handled_while_nothing_is_answered() -> None:
    router = APIRouter()
    router.mount("/below", raising)

    answer = await asked(ComponentApp(router, title="writer"), "GET", "/below/soon")
    assert answer.status == 418
    assert answer.json() == {"detail": "short and stout"}


async def test_an_answer_that_has_begun_breaks_off_and_is_not_answered_by_a_handler() -> None:
    router, errors = APIRouter(), list[BaseException]()
    router.mount("/below", raising)

    with pytest.raises(ConnectionBroken):
        await asked(behind_a_wall(router, errors), "GET", "/below/begun")
    assert len(errors) == 1


async def test_an_exception_in_a_middleware_of_an_application_below_is_one_of_the_component() -> None:
    """Starlette answers it, and raises it again for the server to log."""
    below = FastAPI()

    @below.middleware("http")
    async def refuse(request: Request, call_next: Any) -> None:
        raise HTTPException(401, "who")

    router, errors = APIRouter(), list[BaseException]()
    router.mount("/below", below)

    answer = await asked(behind_a_wall(router, errors), "GET", "/below/")
    assert (answer.status, answer.json()["code"]) == (500, "E5006")
    assert len(errors) == 1


class Provider(trace.TracerProvider):
    """A provider that somebody has configured."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []

    def get_tracer(self, instrumenting_module_name: str, *args: Any, **kwargs: Any) -> trace.Tracer:
        self.asked_for.append(instrumenting_module_name)
        return trace.NoOpTracer()


async def test_a_provider_of_telemetry_that_comes_later_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    app, provider = ComponentApp(a_router(), title="writer"), Provider()
    assert (await asked(app, "GET", "/v1/items/1")).status == 200

    monkeypatch.setattr(component_app, "LOOK_EVERY_S", 0.0)
    app._application._look_again_s = 0.0
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    assert (await asked(app, "GET", "/v1/items/1")).status == 200
    assert "fastapi" in provider.asked_for


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("prefix", ["", "/agents/writer"])
async def test_the_document_is_the_same(method: str, prefix: str) -> None:
    ours = await asked(ComponentApp(a_router(), title="writer"), method, OPENAPI, prefix=prefix)
    theirs = await asked(included(a_router()), method, OPENAPI, prefix=prefix)
    assert ours.json() == theirs.json()


async def test_a_document_is_only_read() -> None:
    assert (await asked(ComponentApp(a_router(), title="writer"), "POST", OPENAPI)).status == 404


async def test_a_page_of_documentation_can_be_made_of_it() -> None:
    """As FastAPI describes it for pages of one's own."""
    router = APIRouter()

    @router.get("/documentation")
    async def documentation(request: Request) -> str:
        return str(request.scope["root_path"] + request.app.openapi_url)

    app = ComponentApp(router, title="writer")
    page = await asked(app, "GET", "/documentation", prefix="/agents/writer")
    assert page.json() == f"/agents/writer{OPENAPI}"


async def test_a_route_for_everything_does_not_hide_the_document() -> None:
    router = APIRouter()
    router.add_api_route("/{name}", lambda name: {"name": name})
    app = ComponentApp(router, title="writer")

    assert "/{name}" in (await asked(app, "GET", OPENAPI)).json()["paths"]
    assert (await asked(app, "GET", "/ada")).json() == {"name": "ada"}


async def test_routes_that_come_later_are_answered_too() -> None:
    router = APIRouter()
    app = ComponentApp(router, title="writer")

    @router.get("/early")
    async def early(request: Request) -> str:
        return request.url_for("late").path

    router.add_api_route("/late", lambda: "here", name="late")

    assert (await asked(app, "GET", "/late")).json() == "here"
    assert (await asked(app, "GET", "/early")).json() == "/late"
    assert "/late" in (await asked(app, "GET", OPENAPI)).json()["paths"]


async def test_routes_find_their_component() -> None:
    router = APIRouter()

    @router.get("/who")
    async def who(request: Request) -> str:
        return f"{request.app.state.component} in {request.app.state.context}"

    app = ComponentApp(router, title="writer", component="the writer", context="its context")
    assert (await asked(app, "GET", "/who")).json() == "the writer in its context"


async def test_a_component_without_routes_has_a_document_alone() -> None:
    app = ComponentApp(None, title="writer")

    assert (await asked(app, "GET", "/")).status == 404
    assert (await asked(app, "GET", OPENAPI)).json()["paths"] == {}
