"""A locked database is a 423 with Retry-After and its holder, in every framework; any other error stays what it is."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from anyio import to_thread
from fastapi import FastAPI
from flask import Flask
from litestar import Litestar
from litestar import post as litestar_post
from litestar.testing import TestClient as LitestarClient
from sqlalchemy import Engine, create_engine, text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from holdfast.integrations import aiohttp, fastapi, flask, litestar, starlette
from tests.integrations.running import faults_of
from tests.serving import Answer


def in_fastapi(engine: Engine, work: Callable[[], None]) -> Any:
    app = FastAPI()
    fastapi.install_database_errors(app, engine)

    @app.post("/orders/42")
    def post() -> None:
        work()

    return _sent(app)


def in_starlette(engine: Engine, work: Callable[[], None]) -> Any:
    def post(request: Request) -> Response:
        work()
        return Response()

    app = Starlette(routes=[Route("/orders/42", post, methods=["POST"])])
    starlette.install_database_errors(app, engine)
    return _sent(app)


def _sent(app: Any) -> Any:
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.post("/orders/42")
        return response.status_code, dict(response.headers), response.content


def in_flask(engine: Engine, work: Callable[[], None]) -> Any:
    app = Flask(__name__)
    flask.install_database_errors(app, engine)

    @app.post("/orders/42")
    def post() -> str:
        work()
        return ""

    response = app.test_client().post("/orders/42")
    return response.status_code, dict(response.headers), response.data


def in_litestar(engine: Engine, work: Callable[[], None]) -> Any:
    @litestar_post("/orders/42", sync_to_thread=True)
    def post() -> None:
        work()

    app = Litestar([post])
    litestar.install_database_errors(app, engine)
    with LitestarClient(app, raise_server_exceptions=False) as client:
        response = client.post("/orders/42")
        return response.status_code, dict(response.headers), response.content


def in_aiohttp(engine: Engine, work: Callable[[], None]) -> Any:
    async def post(_request: web.Request) -> web.Response:
        await to_thread.run_sync(work)
        return web.Response()

    async def send() -> Any:
        app = web.Application()
        app.router.add_post("/orders/42", post)
        aiohttp.install_database_errors(app, engine)
        async with AiohttpClient(TestServer(app)) as client, client.post("/orders/42") as response:
            return response.status, dict(response.headers), await response.read()

    return asyncio.run(send())


@pytest.mark.parametrize("send", [in_fastapi, in_starlette, in_litestar, in_aiohttp, in_flask])
def test_a_locked_database_is_a_423_and_anything_else_is_none(send: Callable[..., Any], tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/app.db", connect_args={"timeout": 0})
    other = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    other.execute("CREATE TABLE orders (id)")

    def write() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO orders VALUES (1)"))

    def mistake() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    other.execute("BEGIN IMMEDIATE")
    status, headers, body = send(engine, write)
    other.execute("ROLLBACK")
    other.close()
    assert status == 423
    named = {name.lower(): value for name, value in headers.items()}
    assert int(named["retry-after"]) >= 1
    assert b"database is locked" in body
    assert b'"holder"' in body
    words = [word for word in Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:] if len(word) > 3]
    assert [
        word for word in words if word in body
    ] == []  # this process holds it, and its command line is its own affair
    assert "link" not in named
    assert send(engine, mistake)[0] == 500
    engine.dispose()
    answer = Answer(status, _message(headers), body)
    assert faults_of(answer, "POST", "http://127.0.0.1/orders/42") == []


def _message(headers: dict[str, str]) -> Any:
    from email.message import Message

    message = Message()
    if "Date" not in headers:
        message["Date"] = "Sun, 22 Nov 2026 06:00:00 GMT"  # the web server's part
    for name, value in headers.items():
        message[name] = value
    return message
