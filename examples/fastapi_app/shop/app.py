"""A shop as it is served today: `uvicorn shop.app:app`. It knows nothing of Coplane."""

import asyncio
import sqlite3
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import JSONResponse, RedirectResponse
from sse_starlette.sse import EventSourceResponse

ITEMS = ("tea", "bread", "lamp")


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.database = sqlite3.connect(":memory:", check_same_thread=False)
    app.state.database.execute("create table orders (item text)")
    yield
    app.state.database.close()
    print("the shop has closed its books", flush=True)


app = FastAPI(title="Shop", lifespan=lifespan)


class SoldOut(Exception):
    pass


@app.exception_handler(SoldOut)
async def sold_out(_request: Request, _exc: SoldOut):
    return JSONResponse({"error": "sold out"}, status_code=409)


@app.get("/items")
async def items():
    return list(ITEMS)


@app.post("/orders", status_code=201)
async def order(request: Request, item: str):
    if item == "lamp":
        raise SoldOut
    if item not in ITEMS:
        raise HTTPException(404, "we have no such thing")
    request.app.state.database.execute("insert into orders values (?)", (item,))
    return {"item": item, "url": str(request.url_for("orders"))}


@app.get("/orders")
async def orders(request: Request):
    return [row[0] for row in request.app.state.database.execute("select item from orders order by rowid")]


@app.get("/old")
async def old(request: Request):
    return RedirectResponse(request.url_for("items"))


@app.get("/health")
async def health():
    """Of the shop and all it needs: the bank is away."""
    return JSONResponse({"bank": "unreachable"}, status_code=503)


@app.get("/live")
async def live():
    return {"status": "ok"}


@app.get("/ticker")
async def ticker():
    async def ticks():
        number = 0
        while True:
            yield {"data": f"tick {number}"}
            number += 1
            await asyncio.sleep(0.05)

    return EventSourceResponse(ticks())


@app.websocket("/chat")
async def chat(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(f"you said: {text}")


@app.get("/blocked")
def sync_route():
    return {"sync": True}
