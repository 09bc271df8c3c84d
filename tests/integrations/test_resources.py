"""Which resource a request is about, in every framework: what is locked by its path is met by whoever changes that path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from fastapi import Depends, FastAPI
from flask import Flask
from litestar import Litestar, route
from litestar.params import FromPath
from litestar.testing import TestClient as LitestarClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from holdfast.core.paths import ResourcePath
from holdfast.integrations import Locks, Wanted, aiohttp, fastapi, flask, litestar, starlette
from holdfast.integrations.asgi import LockMiddleware
from holdfast.integrations.backends import resource_of
from holdfast.integrations.guarding import Guard, Head
from holdfast.integrations.holding import resource_named
from holdfast.wire.exchange import Headers

ANY = ["GET", "HEAD", "PUT"]
Ask = Callable[[str, str], int]


@pytest.fixture(name="locks")
def make_locks(tmp_path: Path) -> Iterator[Locks]:
    with Locks(tmp_path / "locks.db", address="/locks") as locks:
        yield locks


def locked(locks: Locks, path: str) -> None:
    locks.acquire(Wanted(resource=resource_of(path), principal="ada"))


async def put(request: Request) -> PlainTextResponse:
    await starlette.require_lock(request)
    return PlainTextResponse("saved")


class TestMounted:
    def test_below_a_mount_the_resource_is_the_requests_own_path(self, locks: Locks) -> None:
        app = Starlette(routes=[Mount("/api", routes=[Route("/orders/{order}", put, methods=["PUT"])])])
        starlette.install(app, locks)
        with TestClient(app) as client:
            lock = client.post("/locks", json={"resource": "/api/orders/77"}).json()
            refused = client.put("/api/orders/77")
            assert (refused.status_code, refused.json()["resource"]) == (423, "/api/orders/77")
            assert refused.json()["locks"][0]["url"] == lock["url"]
            assert client.get(lock["url"]).status_code == 200
            assert f"<{lock['url']}>" in refused.headers["link"]

    def test_a_mounted_application_has_the_locks_of_the_one_that_it_is_mounted_in(self, locks: Locks) -> None:
        inner = FastAPI()
        need = Depends(fastapi.require_lock("/w/{w}", principal=lambda: "bob"))
        inner.put("/w/{w}", dependencies=[need])(lambda w: w)
        inner.put("/x/{x}", dependencies=[Depends(fastapi.require_lock())])(lambda x: x)
        app = FastAPI()
        fastapi.install(app, locks)
        app.mount("/sub", inner)
        locked(locks, "/w/1")
        locked(locks, "/sub/x/1")
        with TestClient(app) as client:
            for path in ("/sub/w/1", "/sub/x/1"):
                refused = client.put(path)
                assert (refused.status_code, refused.headers["retry-after"]) == (423, "60")
            assert client.put("/sub/w/2").status_code == 200
            assert client.put("/sub/x/2").status_code == 200

    def test_a_mounted_application_with_locks_of_its_own_is_by_itself(self, locks: Locks, tmp_path: Path) -> None:
        inner, app = FastAPI(), FastAPI()
        inner.put("/w/{w}", dependencies=[Depends(fastapi.require_lock())])(lambda w: w)
        app.put("/w/{w}", dependencies=[Depends(fastapi.require_lock())])(lambda w: w)
        with Locks(tmp_path / "inner.db", address="/locks") as own:
            fastapi.install(inner, own)
            inner.add_middleware(LockMiddleware, locks=own, under=["/g"])
            inner.put("/g/{g}")(lambda g: g)
            fastapi.install(app, locks)
            app.mount("/sub", inner)
            with TestClient(app, root_path="/shop") as client:
                lock = client.post("/shop/sub/locks", json={"resource": "/w/1"})
                assert lock.headers["location"] == lock.json()["url"] == f"/shop/sub/locks/{lock.json()['id']}"
                refused = client.put("/shop/sub/w/1")
                assert (refused.status_code, refused.json()["resource"]) == (423, "/w/1")
                assert refused.json()["locks"][0]["url"] == lock.json()["url"]
                assert client.put("/shop/w/1").status_code == 200
                assert client.post("/shop/sub/locks", json={"resource": "/g/1"}).status_code == 201
                assert client.put("/shop/sub/g/1").status_code == 423

    def test_a_guard_before_a_mounted_part_means_the_same_resources(self, locks: Locks) -> None:
        async def saved(scope: Any, receive: Any, send: Any) -> None:
            await PlainTextResponse("saved")(scope, receive, send)

        app = Starlette(routes=[Mount("/api", LockMiddleware(saved, locks, under=["/api/orders"]))])
        starlette.install(app, locks)
        locked(locks, "/api/orders/1")
        with TestClient(app) as client:
            assert client.put("/api/orders/1").status_code == 423
            assert client.put("/api/orders/2").status_code == 200


class TestNames:
    @pytest.mark.parametrize("name", ["ü", "100%", "%41", "a b"])
    def test_what_an_application_says_a_path_stands_for_is_not_decoded_again(self, locks: Locks, name: str) -> None:
        guard = Guard(locks, resource=lambda path: path.removesuffix("/lines"))

        def status(path: str) -> int | None:
            answer = guard.judge(Head("PUT", path, Headers()), lambda: "bob")
            return None if answer is None else answer.status

        locked(locks, f"/orders/{quote(name)}")
        assert status(f"/orders/{name}/lines") == 423
        assert status("/orders/A/lines") is None

    def test_a_parameter_of_several_segments_names_as_many(self) -> None:
        assert resource_named("/files/{p}", {"p": "a b/c%"}, "").text == "/files/a b/c%"
        assert resource_named("/files/{p}", {"p": "/a/b"}, "").text == "/files/a/b"
        assert resource_named("/files{p}/x", {"p": "/a/b"}, "").text == "/files/a/b/x"

    @pytest.mark.parametrize("value", ["a//b", "../b", "a/./b", "a\\b", "a/.."])
    def test_a_parameter_that_could_mean_two_resources_is_refused(self, value: str) -> None:
        with pytest.raises(ValueError, match="path"):
            resource_named("/files/{p}", {"p": value}, "")


def flask_app(locks: Locks) -> Flask:
    app = Flask(__name__)
    flask.install(app, locks)
    reads = app.route("/files/<path:p>", methods=ANY)
    reads(flask.require_lock("/files/{p}")(lambda p: p))
    app.get("/writes/<path:p>", endpoint="writes")(flask.require_lock("/files/{p}", writes=True)(lambda p: p))
    return app


def in_starlette(locks: Locks, ask: Callable[[Ask], None]) -> None:
    async def reads(request: Request) -> PlainTextResponse:
        await starlette.require_lock(request, "/files/{p}")
        return PlainTextResponse()

    async def writes(request: Request) -> PlainTextResponse:
        await starlette.require_lock(request, "/files/{p}", writes=True)
        return PlainTextResponse()

    app = Starlette(routes=[Route("/files/{p:path}", reads, methods=ANY), Route("/writes/{p:path}", writes)])
    starlette.install(app, locks)
    with TestClient(app) as client:
        ask(lambda method, path: client.request(method, path).status_code)


def in_fastapi(locks: Locks, ask: Callable[[Ask], None]) -> None:
    app = FastAPI()
    fastapi.install(app, locks)
    needs = [Depends(fastapi.require_lock("/files/{p}"))]
    app.api_route("/files/{p:path}", methods=ANY, dependencies=needs)(lambda p: p)
    app.get("/writes/{p:path}", dependencies=[Depends(fastapi.require_lock("/files/{p}", writes=True))])(lambda p: p)
    with TestClient(app) as client:
        ask(lambda method, path: client.request(method, path).status_code)


def in_flask(locks: Locks, ask: Callable[[Ask], None]) -> None:
    client = flask_app(locks).test_client()
    ask(lambda method, path: client.open(path, method=method).status_code)


def in_litestar(locks: Locks, ask: Callable[[Ask], None]) -> None:
    def handler(path: str, methods: list[str], **how: bool) -> Any:
        guards = [litestar.require_lock("/files/{p}", **how)]

        async def answer(p: FromPath[str]) -> None:
            """Nothing."""

        return route(path, http_method=methods, status_code=200, guards=guards)(answer)  # type: ignore[arg-type]

    app = Litestar(
        [handler("/files/{p:path}", ANY), handler("/writes/{p:path}", ["GET"], writes=True)],
        signature_namespace={"FromPath": FromPath},
    )
    litestar.install(app, locks)
    with LitestarClient(app) as client:
        ask(lambda method, path: client.request(method, path).status_code)


def in_aiohttp(locks: Locks, ask: Callable[[Ask], None]) -> None:
    async def reads(request: web.Request) -> web.Response:
        await aiohttp.require_lock(request, "/files/{p}")
        return web.Response()

    async def writes(request: web.Request) -> web.Response:
        await aiohttp.require_lock(request, "/files/{p}", writes=True)
        return web.Response()

    async def main() -> None:
        app = web.Application()
        aiohttp.install(app, locks)
        app.router.add_route("*", "/files/{p:.+}", reads)
        app.router.add_get("/writes/{p:.+}", writes)
        async with AiohttpClient(TestServer(app)) as client:

            async def status(method: str, path: str) -> int:
                async with client.request(method, path) as answer:
                    return answer.status

            loop = asyncio.get_running_loop()
            say: Ask = lambda method, path: asyncio.run_coroutine_threadsafe(status(method, path), loop).result(30)  # noqa: E731
            await asyncio.to_thread(ask, say)

    asyncio.run(main())


@pytest.mark.parametrize("asked_in", [in_starlette, in_fastapi, in_flask, in_litestar, in_aiohttp])
def test_in_every_framework_slashes_are_part_of_the_resource_and_reading_is_never_refused(
    locks: Locks, asked_in: Callable[..., None]
) -> None:
    locked(locks, "/files/a/b%20c")

    def ask(status: Ask) -> None:
        assert status("PUT", "/files/a/b%20c") == 423
        assert status("PUT", "/files/a/d") == 200
        assert status("GET", "/files/a/b%20c") == 200
        assert status("HEAD", "/files/a/b%20c") == 200
        assert status("GET", "/writes/a/b%20c") == 423

    asked_in(locks, ask)


def test_an_asynchronous_view_of_flask_runs_under_its_lock(locks: Locks) -> None:
    app = Flask(__name__)
    flask.install(app, locks)

    async def holder(order: str) -> str:
        await asyncio.sleep(0)
        return locks.find(f"/orders/{order}")[0].holder.name

    async def saved(order: str) -> str:
        return order

    app.post("/orders/<order>/bill", endpoint="bill")(flask.lock("/orders/{order}", principal=lambda: "bob")(holder))
    app.put("/orders/<order>", endpoint="order")(flask.require_lock("/orders/{order}")(saved))
    client = app.test_client()
    assert client.post("/orders/1/bill").text == "bob"
    assert locks.find("/orders/1") == []
    assert client.put("/orders/1").text == "1"
    locked(locks, "/orders/1")
    assert client.put("/orders/1").status_code == 423


def test_an_application_below_a_prefix_says_so_in_every_address_of_a_lock(locks: Locks) -> None:
    client = flask_app(locks).test_client()
    shop = "http://shop.example/shop"
    made = client.post("/locks", shop, json={"resource": "/files/a"})
    lock: Any = made.json
    assert lock["url"] == made.headers["Location"] == f"/shop/locks/{lock['id']}"
    found: Any = client.get("/locks", shop, query_string="resource=/files/a").json
    assert [one["url"] for one in found["locks"]] == [lock["url"]]
    shown: Any = client.get(lock["url"].removeprefix("/shop"), shop).json
    assert shown["url"] == lock["url"]


def test_who_has_what_is_told_by_the_applications_rule(locks: Locks) -> None:
    def may_see(principal: str, resource: ResourcePath) -> bool:
        return (principal, resource.text) == ("anonymous", "/a b")

    in_flask, in_starlette = Flask(__name__), Starlette()
    flask.install(in_flask, locks, may_see=may_see)
    starlette.install(in_starlette, locks, may_see=may_see)
    hidden = locks.acquire(Wanted(resource=resource_of("/b"), principal="ada"))
    with TestClient(in_starlette) as client:
        for get in (in_flask.test_client().get, client.get):
            assert get("/locks?resource=/a%2520b").status_code == 200
            assert get("/locks?resource=/b").status_code == 403
            assert get(f"/locks/{hidden.id}").status_code == 403
