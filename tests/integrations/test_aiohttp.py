"""What aiohttp has beyond the others: applications within applications, a middleware of its own, and nobody who logs in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient, TestServer

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.integrations import Locks, Wanted
from holdfast.integrations.aiohttp import install, installed, lock, lock_middleware, lock_routes, require_lock
from holdfast.integrations.backends import resource_of
from holdfast.integrations.embedded import EmbeddedBackend
from tests.serving import Uptime

ADA = {"X-User": "ada"}
BOB = {"X-User": "bob"}


def who(request: web.Request) -> str:
    return request.headers.get("X-User", "anonymous")


async def put_order(request: web.Request) -> web.Response:
    await require_lock(request)
    return web.json_response(request.match_info["order"])


async def saved(_request: web.Request) -> web.Response:
    return web.Response()


def shop() -> web.Application:
    app = web.Application()
    app.router.add_put("/orders/{order}", put_order)
    return app


def made(locks: Locks, **rules: Any) -> web.Application:
    app = shop()
    install(app, locks, principal=who, **rules)
    return app


def serve(app: web.Application, test: Callable[[Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with TestClient(TestServer(app)) as client:
            await test(client)

    asyncio.run(main())


@pytest.fixture(name="locks")
def make_locks(tmp_path: Path) -> Iterator[Locks]:
    with Locks(tmp_path / "locks.db", address="/locks") as locks:
        yield locks


def taken(locks: Locks, resource: str, principal: str = "ada") -> Any:
    return locks.acquire(Wanted(resource=resource_of(resource), principal=principal))


async def status(client: Any, path: str, headers: dict[str, str] = BOB, method: str = "PUT") -> int:
    async with client.request(method, path, headers=headers) as answer:
        return answer.status


def test_a_lock_lapses_and_what_it_protected_is_free(tmp_path: Path) -> None:
    uptime = Uptime()
    backend = EmbeddedBackend(tmp_path / "locks.db", clock=Clock(read_uptime=uptime), durability=Durability.CRASH)

    async def test(client: Any) -> None:
        async with client.post("/locks", json={"resource": "/orders/1", "ttl": 60}, headers=ADA) as answer:
            assert answer.status == 201
        assert await status(client, "/orders/1") == 423
        uptime.advance(61)
        assert await status(client, "/orders/1") == 200

    with Locks(backend=backend, address="/locks") as locks:
        serve(made(locks), test)


def test_an_exception_of_the_applications_own_code_becomes_the_whole_answer(locks: Locks) -> None:
    async def archive(_request: web.Request) -> web.Response:
        locks.require("/orders/4", "archivist")
        return web.Response()

    async def test(client: Any) -> None:
        async with client.post("/archive", headers={"Accept": "text/html"}) as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (423, "no-store")
            assert answer.headers["Content-Type"].startswith("text/html")
            assert "ada has locked" in await answer.text()

    app = made(locks)
    app.router.add_post("/archive", archive)
    taken(locks, "/orders/4")
    serve(app, test)


def test_an_answer_that_has_begun_is_cut_off_and_no_other_is_put_into_it(locks: Locks) -> None:
    async def begin(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"begun")
        await require_lock(request)
        return answer

    async def test(client: Any) -> None:
        async with client.put("/begin") as answer:
            assert answer.status == 200
            with pytest.raises(ClientPayloadError):
                await answer.read()

    app = made(locks)
    app.router.add_put("/begin", begin)
    taken(locks, "/begin")
    serve(app, test)


def test_a_lock_is_released_when_the_handler_fails(locks: Locks) -> None:
    async def fail(request: web.Request) -> web.Response:
        async with lock(request, "/orders/{order}"):
            raise web.HTTPConflict

    async def test(client: Any) -> None:
        assert await status(client, "/orders/3/fail", method="POST") == 409

    app = made(locks)
    app.router.add_post("/orders/{order}/fail", fail)
    serve(app, test)
    assert locks.find("/orders/3") == []


def test_an_application_that_another_one_has_taken_in_has_its_locks_below_its_own_place(locks: Locks) -> None:
    async def test(client: Any) -> None:
        async with client.post("/a/b/locks", json={"resource": "/orders/5"}, headers=ADA) as answer:
            made_lock = await answer.json()
            assert answer.headers["Location"] == f"/a/b/locks/{made_lock['id']}"
        async with client.put("/a/b/orders/5", headers=BOB) as answer:
            assert answer.status == 423
            assert (await answer.json())["resource"] == "/orders/5"
            assert f"</a/b/locks/{made_lock['id']}>" in answer.headers["Link"]
        assert await status(client, answer.headers["Link"].split(">")[0][1:], method="GET") == 200

    outer, middle = web.Application(), web.Application()
    middle.add_subapp("/b", made(locks))
    outer.add_subapp("/a", middle)
    serve(outer, test)


def test_an_application_that_another_one_has_taken_in_has_the_locks_of_that_one(locks: Locks) -> None:
    async def test(client: Any) -> None:
        held = taken(locks, "/a/orders/6")
        async with client.put("/a/orders/6", headers=BOB) as answer:
            assert answer.status == 423
            assert (await answer.json())["resource"] == "/a/orders/6"
            assert f"</locks/{held.id}>" in answer.headers["Link"]
        assert await status(client, "/a/orders/6", {**ADA, "Lock-Token": f"<{held.token}>"}) == 200

    outer = web.Application()
    install(outer, locks, principal=who)
    outer.add_subapp("/a", shop())
    serve(outer, test)


@pytest.mark.parametrize("root", ["", "/a"])
def test_the_middleware_lets_no_change_to_what_is_locked_pass(locks: Locks, root: str) -> None:
    async def test(client: Any) -> None:
        held = taken(locks, "/free/1")
        assert await status(client, f"{root}/free/1") == 423
        assert await status(client, f"{root}/%66ree/1") == 423
        assert await status(client, f"{root}/free/1", {**ADA, "Lock-Token": f"<{held.token}>"}) == 200
        assert await status(client, f"{root}/free/2") == 200
        assert await status(client, f"{root}/free/1", method="GET") == 405
        for path in ("/free//1", "/free/x/..%2f1"):
            assert await status(client, f"{root}{path}") == 400, path
        taken(locks, "/locks")
        assert await status(client, f"{root}/locks/{held.id}", method="GET") == 200

    app = made(locks)
    app.middlewares.append(lock_middleware(locks, under=["/free", "/locks"]))
    app.router.add_put("/free/{name}", saved)
    outer = app
    if root:
        outer = web.Application()
        outer.add_subapp(root, app)
    serve(outer, test)


def test_the_middleware_alone_knows_nobody_but_whom_it_is_told(locks: Locks) -> None:
    async def test(client: Any) -> None:
        token = {"Lock-Token": f"<{taken(locks, '/orders/7').token}>"}
        assert await status(client, "/by-rule/orders/7", {**ADA, **token}) == 423
        taken(locks, "/orders/8", "anonymous")
        assert await status(client, "/orders/7", {**ADA, **token}) == 423

    app = web.Application(middlewares=[lock_middleware(locks, resource=lambda path: path.removeprefix("/by-rule"))])
    app.router.add_put("/{path:.*}", saved)
    serve(app, test)


def test_a_body_that_is_too_long_is_413_and_head_has_none(locks: Locks) -> None:
    async def test(client: Any) -> None:
        async with client.post("/locks", data=b"x" * 100_000, headers={"Content-Type": "application/json"}) as answer:
            assert answer.status == 413
        async with client.head("/locks/help") as answer:
            assert answer.status == 200
            assert await answer.read() == b""
        async with client.put("/locks") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")

    serve(made(locks), test)


def test_without_locks_the_mistake_is_named() -> None:
    async def look(request: web.Request) -> web.Response:
        with pytest.raises(LookupError, match="install"):
            installed(request)
        return web.Response()

    async def test(client: Any) -> None:
        assert await status(client, "/", method="GET") == 200

    app = web.Application()
    app.router.add_get("/", look)
    serve(app, test)


def test_routes_need_an_address(tmp_path: Path) -> None:
    with Locks(tmp_path / "locks.db") as locks, pytest.raises(ValueError, match="address"):
        lock_routes(locks)
