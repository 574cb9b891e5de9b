"""FastAPI is told where endpoints are written, and learns nothing else than what it would find out."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, routing

from control_plane.runtime.component_app import ComponentApp
from control_plane.runtime.endpoint_sources import note_sources
from tests.support.asking import asked

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with nothing, and leave nothing under an id that another endpoint may have later."""
    monkeypatch.setattr(routing, "_endpoint_context_cache", {})


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


class Library:
    def __init__(self) -> None:
        self.router = APIRouter()
        self.router.add_api_route("/books", self.books)
        self.router.add_api_route("/pages", self.pages)

    async def books(self) -> list[str]:
        return []

    @logged
    async def pages(self) -> int:
        return 0


def endpoints(app: FastAPI, router: APIRouter) -> dict[str, Callable[..., Any]]:
    routes = [*app.routes, *router.routes]
    return {route.path: route.endpoint for route in routes if isinstance(route, routing.APIRoute)}


@pytest.mark.parametrize("path", ["/books", "/pages", "/plain", "/decorated"])
def test_what_is_noted_is_what_fastapi_finds_out(path: str) -> None:
    app, router = FastAPI(), Library().router

    @app.get("/plain")
    async def plain() -> None: ...

    @app.get("/decorated")
    @logged
    async def decorated() -> None: ...

    endpoint = endpoints(app, router)[path]
    found = dict(routing._extract_endpoint_context(endpoint))
    routing._endpoint_context_cache.clear()

    app.include_router(router)
    note_sources(app)

    assert routing._endpoint_context_cache[id(endpoint)] == found
    assert found["line"]


async def test_the_first_request_of_a_component_reads_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    app = ComponentApp(library.router, title="library")
    note_sources(app)

    def fail(*_: object) -> None:
        raise AssertionError("a source was read")

    monkeypatch.setattr("inspect.getsourcelines", fail)
    assert (await asked(app, "GET", "/books")).json() == []
    assert routing._endpoint_context_cache[id(library.router.routes[0].endpoint)]["path"] == "GET /books"  # type: ignore[attr-defined]


def test_what_has_been_there_under_the_same_id_is_forgotten() -> None:
    app = FastAPI()

    @app.get("/")
    async def root() -> None: ...

    routing._endpoint_context_cache[id(root)] = {"function": "another"}
    note_sources(app)
    assert routing._endpoint_context_cache[id(root)]["function"] == "root"


class Nameless:
    """A decorated endpoint that FastAPI takes, although it has no name."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function
        self.__signature__ = inspect.signature(function)

    async def __call__(self) -> int:
        return 1


async def test_what_has_no_name_is_left_to_fastapi_and_knows_nothing_of_others() -> None:
    app = FastAPI()
    endpoint = Nameless(lambda: 1)
    app.add_api_route("/", endpoint, name="nameless")
    routing._endpoint_context_cache[id(endpoint)] = {"function": "another"}

    note_sources(app)

    assert id(endpoint) not in routing._endpoint_context_cache
    assert (await asked(app, "GET", "/")).json() == 1


@pytest.mark.parametrize("app", [functools.partial(print), object()])
def test_other_applications_are_left_alone(app: Any) -> None:
    note_sources(app)
    assert not routing._endpoint_context_cache
