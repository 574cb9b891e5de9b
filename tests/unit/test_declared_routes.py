"""What an application declares that it answers."""

from __future__ import annotations

from types import ModuleType

import pytest
from fastapi import APIRouter, FastAPI, WebSocket, routing
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route

from control_plane.runtime.declared_routes import MAX_ROUTES, declared_routes, work_out


def page(_request: object) -> PlainTextResponse:
    return PlainTextResponse("")


def test_routes_mounts_and_websockets_are_told_with_their_methods() -> None:
    app = FastAPI()
    app.add_api_route("/items/{number}", page, methods=["PUT", "GET"])

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None: ...

    deep, deeper = APIRouter(), APIRouter(prefix="/v1")
    deeper.add_api_route("/end", page, methods=["POST"])
    deep.include_router(deeper, prefix="/deep")
    app.include_router(deep, prefix="/api")
    app.mount("/old", Starlette(routes=[Mount("/deep", routes=[Route("/end", page)])]))

    assert declared_routes(app, "/shop") == (
        "GET /shop/items/{number}",
        "PUT /shop/items/{number}",
        "WEBSOCKET /shop/live",
        "POST /shop/api/deep/v1/end",
        "GET /shop/old/deep/end",
    )


def test_a_class_of_methods_answers_any() -> None:
    app = Starlette(routes=[Route("/", HTTPEndpoint)])
    assert declared_routes(app, "/x") == ("ANY /x/",)


def test_included_routes_are_worked_out_before_anybody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    app, router, shop = FastAPI(), APIRouter(), ModuleType("shop")
    router.add_api_route("/items", page, methods=["GET"])
    app.include_router(router, prefix="/api")
    shop.app, shop.name = app, "a shop"  # type: ignore[attr-defined]
    work_out(shop)

    def fail(*_: object, **__: object) -> None:
        pytest.fail("it is worked out again")

    monkeypatch.setattr(routing, "get_dependant", fail)
    assert declared_routes(app, "/") == ("GET /api/items",)


def test_routes_that_cannot_be_worked_out_are_left_to_whoever_serves_them() -> None:
    class Broken(Starlette):
        @property
        def routes(self) -> list[BaseRoute]:
            raise ValueError("on purpose")

    shop = ModuleType("shop")
    shop.app = Broken()  # type: ignore[attr-defined]
    work_out(shop)


def test_a_lazy_object_is_not_brought_to_life() -> None:
    class Lazy:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            pytest.fail("it was asked for its class")

    shop = ModuleType("shop")
    shop.database = Lazy()  # type: ignore[attr-defined]
    work_out(shop)


def test_an_unknown_application_declares_nothing() -> None:
    assert declared_routes(page, "/") == ()


def test_no_more_are_told_than_a_message_should_hold() -> None:
    app = Starlette(routes=[Route(f"/{number}", page) for number in range(MAX_ROUTES + 1)])

    assert len(declared_routes(app, "/")) == MAX_ROUTES
