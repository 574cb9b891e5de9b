"""What the gateway answers by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from contracts.component import Endpoint
from control_plane.runtime.mounts import MountTable
from tests.support.gateway_stage import Stage, Where, gateway_before
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

WHERE: list[Where] = ["local", "remote"]


async def get(stage: Stage, path: str, method: str = "GET") -> tuple[int, Any]:
    async with aiohttp.ClientSession() as client, client.request(method, stage.url + path) as answer:
        is_json = "json" in answer.content_type
        return answer.status, await (answer.json() if is_json else answer.text())


def app_with(model_field: str) -> FastAPI:
    """Return an application whose model `Item` has one field of that name."""
    app = FastAPI(docs_url=None, redoc_url=None)
    item = type("Item", (BaseModel,), {"__annotations__": {model_field: str}, "__module__": __name__})

    async def read(number: int) -> Any:
        return {model_field: str(number)}

    app.add_api_route("/items/{number}", read, response_model=item)
    return app


async def test_a_gateway_that_runs_is_healthy() -> None:
    async with gateway_before({}) as stage:
        assert await get(stage, "/-/health") == (200, {"status": "ok"})


async def test_ready_says_what_is_not() -> None:
    async with gateway_before({}) as stage:
        stage.directory.replicas = {
            "writer": {"writer-1": "ready", "writer-2": "starting"},
            "critic": {"critic-1": "backoff"},
            "outliner": {"outliner-1": "stopped"},
            "director": {"director-1": "degraded"},
        }
        assert await get(stage, "/-/ready") == (
            503,
            {"ready": False, "not_ready": {"critic": {"critic-1": "backoff"}}},
        )
        del stage.directory.replicas["critic"]
        assert await get(stage, "/-/ready") == (200, {"ready": True, "not_ready": {}})


async def test_status_is_the_directorys() -> None:
    async with gateway_before({}) as stage:
        stage.directory.replicas = {"writer": {"writer-1": "ready"}}
        assert await get(stage, "/-/status") == (200, {"writer": {"writer-1": "ready"}})


async def test_its_pages_can_only_be_read() -> None:
    async with gateway_before({}) as stage:
        assert (await get(stage, "/-/health", "POST"))[0] == 404
        assert (await get(stage, "/-/nothing"))[0] == 404
        assert (await get(stage, "/-/health", "HEAD"))[0] == 200


async def test_the_documentation_shows_the_merged_document() -> None:
    async with gateway_before({}, config={"title": "Novel"}) as stage:
        status, page = await get(stage, "/-/docs")
    assert status == 200
    assert "/openapi.json" in page
    assert "Novel" in page


@pytest.mark.parametrize("where", WHERE)
async def test_openapi_names_the_routes_of_every_component(where: Where) -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        """Answer everything, /openapi.json too, with something else."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>"})

    apps = {"writer": app_with("text"), "critic": app_with("score"), "plain": plain}
    async with gateway_before(apps, where=where) as stage:
        status, document = await get(stage, "/openapi.json")
    assert status == 200
    assert list(document["paths"]) == ["/critic/items/{number}", "/writer/items/{number}"]
    schemas = document["components"]["schemas"]
    assert schemas["critic_Item"]["required"] == ["score"]
    assert schemas["writer_Item"]["required"] == ["text"]
    assert "HTTPValidationError" in schemas


@pytest.mark.parametrize("where", WHERE)
async def test_a_component_that_hangs_does_not_hold_the_document_up(
    where: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.gateway.pages.DOCUMENT_TIMEOUT_S", 0.2)

    async def hang(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.Event().wait()

    async with gateway_before({"writer": app_with("text"), "slow": hang}, where=where) as stage:
        _, document = await get(stage, "/openapi.json")
    assert list(document["paths"]) == ["/writer/items/{number}"]


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    "answer",
    [
        b'{"paths": null}',
        b'{"paths": {"/x": {"get": 1}}}',
        b'{"components": {"schemas": 1}}',
        b"[" * 9_000,
        None,
    ],
)
async def test_a_component_whose_document_is_none_is_left_out(where: Where, answer: bytes | None) -> None:
    async def odd(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": answer or b"{", "more_body": answer is None})
        assert answer, "it breaks off"

    async with gateway_before({"writer": app_with("text"), "odd": odd}, where=where) as stage:
        status, document = await get(stage, "/openapi.json")
    assert (status, list(document["paths"])) == (200, ["/writer/items/{number}"])


async def test_openapi_follows_the_table() -> None:
    async with gateway_before({"writer": app_with("text")}, where="local") as stage:
        assert list((await get(stage, "/openapi.json"))[1]["paths"]) == ["/writer/items/{number}"]
        critic = MountTable({"/critic": app_with("score")})
        stage.directory.set(Endpoint("critic", "critic-1", "/critic", True, app=critic))

        async def paths() -> bool:
            return list((await get(stage, "/openapi.json"))[1]["paths"]) == ["/critic/items/{number}"]

        await eventually(paths)


async def test_a_component_at_the_root_does_not_hide_the_gateways_pages() -> None:
    async with gateway_before({}) as stage:
        root = MountTable({"/": app_with("text")})
        stage.directory.set(Endpoint("site", "site-1", "/", True, app=root))
        await eventually(lambda: reaches_root(stage))
        assert await get(stage, "/-/health") == (200, {"status": "ok"})
        assert list((await get(stage, "/openapi.json"))[1]["paths"]) == ["/items/{number}"]


async def reaches_root(stage: Stage) -> bool:
    return await get(stage, "/items/1") == (200, {"text": "1"})
