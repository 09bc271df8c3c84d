"""What Litestar has beyond the others: guards and decorators, the OpenAPI document, mounts, and exception handlers that may not wait."""

# Litestar reads the annotations of handlers, which stand within the tests: they are not postponed here.

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from litestar import Controller, Litestar, Request, Response, asgi, get, post, put
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import FromPath
from litestar.testing import TestClient
from openapi_spec_validator import validate

from holdfast.clock import Clock
from holdfast.config import Durability
from holdfast.integrations import Locks, Wanted
from holdfast.integrations.backends import resource_of
from holdfast.integrations.embedded import EmbeddedBackend
from holdfast.integrations.litestar import (
    LockedOperation,
    LockMiddleware,
    holding,
    install,
    install_database_errors,
    lock,
    lock_routes,
    require_lock,
)
from holdfast.wire.problem_json import parse_locked_problem
from tests.serving import Uptime


def who(connection: Any) -> str:
    return connection.headers.get("x-user", "anonymous")


ADA = {"X-User": "ada"}
BOB = {"X-User": "bob"}


@put("/orders/{order:str}", guards=[require_lock()])
async def put_order(order: FromPath[str]) -> str:
    return order


@post("/orders/{order:str}/bill")
@lock("/orders/{order}", principal=who)
def bill(order: FromPath[str]) -> str:
    return order


@get("/orders/{order:str}")
async def get_order(order: FromPath[str]) -> str:
    return order


def made(locks: Locks, *handlers: Any, **settings: Any) -> Litestar:
    app = Litestar([put_order, bill, get_order, *handlers], **settings)
    install(app, locks, principal=who)
    return app


@pytest.fixture(name="locks")
def make_locks(tmp_path: Path) -> Iterator[Locks]:
    with Locks(tmp_path / "locks.db", address="/locks") as locks:
        yield locks


def taken(locks: Locks, resource: str, principal: str = "ada") -> Any:
    return locks.acquire(Wanted(resource=resource_of(resource), principal=principal))


def test_the_document_tells_of_the_423_where_one_may_come_and_nowhere_else(locks: Locks) -> None:
    app = made(locks)
    document = app.openapi_schema.to_schema()
    validate(document)
    paths = document["paths"]
    described = paths["/orders/{order}"]["put"]["responses"]["423"]
    assert "locks" in described["content"]["application/problem+json"]["schema"]["properties"]
    assert {"application/xml", "text/html"} < set(described["content"])
    assert "Retry-After" in described["headers"]
    assert "Lock-Token" in [item["name"] for item in paths["/orders/{order}"]["put"]["parameters"]]
    assert "423" in paths["/orders/{order}/bill"]["post"]["responses"]
    assert "423" not in paths["/orders/{order}"]["get"]["responses"]
    assert not [path for path in paths if path.startswith("/locks")]


def test_a_route_that_is_registered_later_is_described_too_and_what_an_operation_says_itself_stays(
    locks: Locks,
) -> None:
    class Named(Operation):
        """An operation of the application's own."""

    @put(
        "/later",
        guards=[require_lock()],
        responses={423: ResponseSpec(None, description="busy")},
        operation_class=Named,
    )
    async def later() -> None:
        """Nothing."""

    @post("/own", operation_class=LockedOperation)
    async def own() -> None:
        """Nothing."""

    app = made(locks)
    app.register(later)
    app.register(own)
    operation = app.openapi_schema.paths["/later"].put  # type: ignore[index]
    assert isinstance(operation, Named)
    assert operation.responses["423"].description == "busy"  # type: ignore[index, union-attr]
    assert "423" in app.openapi_schema.paths["/own"].post.responses  # type: ignore[index, union-attr, operator]


def test_a_lock_lapses_and_what_it_protected_is_free(tmp_path: Path) -> None:
    uptime = Uptime()
    backend = EmbeddedBackend(tmp_path / "locks.db", clock=Clock(read_uptime=uptime), durability=Durability.CRASH)
    with Locks(backend=backend, address="/locks") as locks, TestClient(made(locks)) as client:
        assert client.post("/locks", json={"resource": "/orders/1", "ttl": 60}, headers=ADA).status_code == 201
        assert client.put("/orders/1", headers=BOB).status_code == 423
        uptime.advance(61)
        assert client.put("/orders/1", headers=BOB).status_code == 200


def test_a_handler_runs_under_a_lock_or_under_the_callers_own(locks: Locks) -> None:
    class Shop(Controller):
        path = "/shop"

        @post("/{order:str}")
        @lock("/orders/{order}")
        async def show(self, request: Request[Any, Any, Any], order: FromPath[str]) -> list[str]:
            return [order, request.method, *(held.holder.name for held in locks.find(f"/orders/{order}"))]

    with TestClient(made(locks, Shop)) as client:
        assert client.post("/shop/2", headers=BOB).json() == ["2", "POST", "bob"]
        held = taken(locks, "/orders/2")
        for path in ("/shop/2", "/orders/2/bill"):
            assert client.post(path, headers=BOB).status_code == 423
            assert client.post(path, headers={**ADA, "Lock-Token": f"<{held.token}>"}).status_code == 201
    assert [lock.holder.name for lock in locks.find("/orders/2")] == ["ada"]


def test_a_lock_is_released_when_the_handler_fails_and_never_taken_when_what_it_needs_does(locks: Locks) -> None:
    async def broken() -> str:
        raise LookupError

    @post("/fail")
    @lock("/orders/3")
    async def fail() -> None:
        raise LookupError

    @post("/fail-before", dependencies={"broken": Provide(broken)})
    @lock("/orders/3")
    async def fail_before(broken: NamedDependency[str]) -> None:
        """Never runs."""

    with TestClient(made(locks, fail, fail_before), raise_server_exceptions=False) as client:
        for path in ("/fail", "/fail-before"):
            assert client.post(path, headers=BOB).status_code == 500
            assert locks.find("/orders/3") == []


def test_a_block_of_a_handler_holds_a_lock_and_its_exceptions_are_whole_answers(locks: Locks) -> None:
    @post("/archive/{order:str}")
    async def archive(order: FromPath[str], request: Request[Any, Any, Any]) -> str:
        async with holding(request, "/orders/{order}") as held:
            return held.holder.name

    with TestClient(made(locks, archive)) as client:
        assert client.post("/archive/4", headers=BOB).text == "bob"
        taken(locks, "/orders/4")
        refused = client.post("/archive/4", headers={**BOB, "Accept": "text/html"})
        assert (refused.status_code, refused.headers["cache-control"]) == (423, "no-store")
        assert refused.headers["content-type"].startswith("text/html")
        assert "ada has locked" in refused.text


def test_below_a_proxys_prefix_the_links_have_it_too(locks: Locks) -> None:
    with TestClient(made(locks), root_path="/shop") as client:
        made_lock = client.post("/locks", json={"resource": "/orders/5"})
        assert made_lock.headers["location"] == f"/shop/locks/{made_lock.json()['id']}"
        refused = client.put("/shop/orders/5", headers=BOB)
        problem = parse_locked_problem(refused.content)
        assert problem is not None
        assert problem.resource == "/orders/5"
        assert f"</shop/locks/{made_lock.json()['id']}>" in refused.headers["link"]


@asgi("/mounted", is_mount=True, copy_scope=True)
async def mounted(scope: Any, receive: Any, send: Any) -> None:
    await Response(b"", status_code=200).to_asgi_response(None, Request(scope))(scope, receive, send)


@pytest.mark.parametrize("root", ["", "/shop"])
def test_the_middleware_lets_no_change_to_what_is_locked_pass(locks: Locks, root: str) -> None:
    @put("/free/{name:str}")
    async def free(name: FromPath[str]) -> str:
        return name

    guard = DefineMiddleware(LockMiddleware, locks=locks, under=["/free", "/mounted"])
    with TestClient(made(locks, free, mounted, middleware=[guard]), root_path=root) as client:
        for path in ("/free/a", "/mounted/a/b"):
            held = taken(locks, path)
            for sent in (path, f"/{path}/", f"{root}{path}"):
                answer = client.put(f"http://testserver.local{sent}", headers=BOB)
                assert answer.status_code == 423, sent
            assert client.get(path, headers=BOB).status_code in {200, 405}
            assert client.put(path, headers={**ADA, "Lock-Token": f"<{held.token}>"}).status_code == 200
            assert client.put(f"{path}c", headers=BOB).status_code == 200
        if root:  # as Litestar reads it, which looks for the root anywhere
            assert client.put("/x/shop/free/a", headers=BOB).status_code == 423
            assert client.put("/shopfree/a", headers=BOB).status_code == 423
            assert client.put("/x/shop/mounted/a/b", headers=BOB).status_code == 423


def test_a_guard_of_the_whole_application_leaves_the_way_to_a_lock_open(locks: Locks) -> None:
    @put("/things/{name:str}")
    async def thing(name: FromPath[str]) -> str:
        return name

    app = Litestar([thing], guards=[require_lock(held_only=True)])
    install(app, locks, principal=who)
    with TestClient(app) as client:
        assert client.put("/things/1", headers=ADA).status_code == 428
        held = client.post("/locks", json={"resource": "/things/1"}, headers=ADA)
        token = {"Lock-Token": f"<{held.json()['token']}>"}
        assert client.put("/things/1", headers={**ADA, **token}).status_code == 200
        assert client.delete(held.headers["location"], headers={**ADA, **token}).status_code == 204


def test_an_application_may_say_who_it_is_for_one_route_alone(locks: Locks) -> None:
    @put("/mine", guards=[require_lock("/orders/6", principal=lambda _connection: "ada")])
    async def mine() -> str:
        return "saved"

    with TestClient(made(locks, mine)) as client:
        held = taken(locks, "/orders/6")
        assert client.put("/mine", headers={**BOB, "Lock-Token": f"<{held.token}>"}).status_code == 200
        assert client.put("/mine", headers=BOB).status_code == 423


def test_an_error_of_the_database_that_is_about_something_else_goes_to_the_applications_own_handler() -> None:
    @get("/nowhere", sync_to_thread=True)
    def nowhere() -> None:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("SELECT * FROM nowhere")

    def answer(_request: Request[Any, Any, Any], error: Exception) -> Response[str]:
        return Response(f"own: {error}", status_code=503)

    for kind in (sqlite3.Error, Exception, 500):
        app = Litestar([nowhere], exception_handlers={kind: answer})
        install_database_errors(app)
        with TestClient(app) as client:
            found = client.get("/nowhere")
            assert (found.status_code, found.text) == (503, "own: no such table: nowhere")
    app = Litestar([nowhere], debug=True)
    install_database_errors(app)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert "no such table" in client.get("/nowhere").text


def test_handlers_take_the_applications_state_as_before(locks: Locks) -> None:
    @get("/state")
    async def count(state: State) -> int:
        return len(state.dict())

    with TestClient(made(locks, count, state=State({"a": 1}))) as client:
        assert client.get("/state").json() == 2


def test_without_locks_the_mistake_is_named() -> None:
    with TestClient(Litestar([put_order], debug=True), raise_server_exceptions=False) as client:
        answer = client.put("/orders/1")
        assert answer.status_code == 500
        assert "call install(app, Locks(...)) first" in answer.text


def test_routes_need_an_address(tmp_path: Path) -> None:
    with Locks(tmp_path / "locks.db") as locks, pytest.raises(ValueError, match="address"):
        lock_routes(locks)
