"""Small applications, one for each framework, that do the same: orders that may be changed, and a counter that must not miscount.

Started by real servers as `tests.integrations.applications:<name>`; where the locks are kept stands in LOCKS, and the counter in COUNTER.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from holdfast.integrations import Locks


def opened() -> Locks:
    name, _, password = os.environ.get("LOCKS_AUTH", "").partition(":")
    return Locks(os.environ["LOCKS"], address="/locks", auth=(name, password) if name else None)


def counted() -> str:
    """Read, wait a moment, and write: without a lock two requests at once would count as one."""
    path = Path(os.environ["COUNTER"])
    count = int(path.read_text()) + 1
    time.sleep(0.02)
    path.write_text(str(count))
    return str(count)


def fastapi_app() -> Any:
    from fastapi import Depends, FastAPI

    from holdfast.integrations.fastapi import install, lock, require_lock

    app = FastAPI()
    install(app, opened(), principal=lambda request: request.headers.get("x-user", "anonymous"))

    @app.put("/orders/{order}", dependencies=[Depends(require_lock("/orders/{order}"))])
    def put_order(order: str) -> dict[str, str]:
        return {"saved": order}

    @app.put("/held/{order}", dependencies=[Depends(require_lock("/orders/{order}", held_only=True))])
    def put_held(order: str) -> dict[str, str]:
        return {"saved": order}

    @app.post("/count", dependencies=[Depends(lock("/counter", wait=20), scope="function")])
    def count() -> str:
        return counted()

    return app


def starlette_app() -> Any:
    from anyio import to_thread
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from holdfast.integrations.starlette import install, lock, require_lock

    async def put_order(request: Request) -> JSONResponse:
        await require_lock(request)
        return JSONResponse({"saved": request.path_params["order"]})

    async def put_held(request: Request) -> JSONResponse:
        await require_lock(request, "/orders/{order}", held_only=True)
        return JSONResponse({"saved": request.path_params["order"]})

    async def count(request: Request) -> JSONResponse:
        async with lock(request, "/counter", wait=20):
            return JSONResponse(await to_thread.run_sync(counted))

    app = Starlette(
        routes=[
            Route("/orders/{order}", put_order, methods=["PUT"]),
            Route("/held/{order}", put_held, methods=["PUT"]),
            Route("/count", count, methods=["POST"]),
        ]
    )
    install(app, opened(), principal=lambda request: request.headers.get("x-user", "anonymous"))
    return app


def asgi_app() -> Any:
    from holdfast.integrations.asgi import LockMiddleware, head_of

    def user(scope: Any) -> str:
        return head_of(scope).field(b"x-user") or "anonymous"

    app = starlette_app()
    app.router.routes = [route for route in app.router.routes if not route.path.startswith("/orders")]

    async def saved(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/orders"):
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    return LockMiddleware(saved, opened(), principal=user, under=["/orders"])


def litestar_app() -> Any:
    from litestar import Litestar, post, put
    from litestar.params import FromPath

    from holdfast.integrations.litestar import install, lock, require_lock

    async def saved(order: FromPath[str]) -> dict[str, str]:
        return {"saved": order}

    @post("/count", status_code=200)
    @lock("/counter", wait=20)
    def count() -> str:
        return counted()

    handlers = [
        put("/orders/{order:str}", guards=[require_lock("/orders/{order}")])(saved),
        put("/held/{order:str}", guards=[require_lock("/orders/{order}", held_only=True)])(saved),
        count,
    ]
    app = Litestar(handlers, signature_namespace={"FromPath": FromPath})
    install(app, opened(), principal=lambda connection: connection.headers.get("x-user", "anonymous"))
    return app


def aiohttp_app() -> Any:
    from aiohttp import web
    from anyio import to_thread

    from holdfast.integrations.aiohttp import install, lock, require_lock

    async def put_order(request: web.Request) -> web.Response:
        await require_lock(request)
        return web.json_response({"saved": request.match_info["order"]})

    async def put_held(request: web.Request) -> web.Response:
        await require_lock(request, "/orders/{order}", held_only=True)
        return web.json_response({"saved": request.match_info["order"]})

    async def count(request: web.Request) -> web.Response:
        async with lock(request, "/counter", wait=20):
            return web.Response(text=await to_thread.run_sync(counted))

    app = web.Application()
    app.router.add_put("/orders/{order}", put_order)
    app.router.add_put("/held/{order}", put_held)
    app.router.add_post("/count", count)
    install(app, opened(), principal=lambda request: request.headers.get("X-User", "anonymous"))
    return app


def flask_app() -> Any:
    from flask import Flask, request

    from holdfast.integrations.flask import install, lock, require_lock

    app = Flask(__name__)
    install(app, opened(), principal=lambda: request.headers.get("X-User", "anonymous"))

    @app.put("/orders/<order>")
    @require_lock("/orders/{order}")
    def put_order(order: str) -> dict[str, str]:
        return {"saved": order}

    @app.put("/held/<order>")
    @require_lock("/orders/{order}", held_only=True)
    def put_held(order: str) -> dict[str, str]:
        return {"saved": order}

    @app.post("/count")
    @lock("/counter", wait=20)
    def count() -> str:
        return counted()

    return app


def wsgi_app() -> Any:
    from holdfast.integrations.wsgi import LockMiddleware

    app = flask_app()

    def saved(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/orders"):
            return app(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]

    return LockMiddleware(saved, opened(), principal=lambda e: e.get("HTTP_X_USER", "anonymous"), under=["/orders"])
