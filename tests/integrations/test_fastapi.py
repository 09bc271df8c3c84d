"""What FastAPI has beyond the others: dependencies of the application's own, and the OpenAPI document."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from holdfast.integrations import Locks
from holdfast.integrations.answering import locked_schema
from holdfast.integrations.fastapi import install, lock, require_lock
from holdfast.wire.problem_json import parse_locked_problem


def who(x_user: str = Header("nobody")) -> str:
    return x_user


def made(locks: Locks) -> FastAPI:
    app = FastAPI()
    install(app, locks)
    orders = APIRouter(prefix="/orders")

    @orders.put("/{order}", dependencies=[Depends(require_lock(principal=who))])
    def put_order(order: str) -> str:
        return order

    @orders.post("/{order}/bill", dependencies=[Depends(lock("/orders/{order}", principal=who), scope="function")])
    def bill(order: str) -> str:
        held = locks.find(f"/orders/{order}")
        return held[0].holder.name

    @orders.get("/{order}")
    def get_order(order: str) -> str:
        return order

    app.include_router(orders)
    return app


@pytest.fixture(name="locks")
def make_locks(tmp_path: Path):
    with Locks(tmp_path / "locks.db", address="/locks") as locks:
        yield locks


def test_the_document_tells_of_the_423_where_one_may_come_and_nowhere_else(locks: Locks):
    document = made(locks).openapi()
    validate(document)
    paths = document["paths"]
    described = paths["/orders/{order}"]["put"]["responses"]["423"]
    assert described["content"]["application/problem+json"]["schema"] == locked_schema()
    assert "Retry-After" in described["headers"]
    assert "423" in paths["/orders/{order}/bill"]["post"]["responses"]
    assert "423" not in paths["/orders/{order}"]["get"]["responses"]


def test_the_schema_has_what_a_423_says():
    schema = locked_schema()
    assert {"type", "title", "status", "detail", "instance", "resource", "retry_after", "locks"} <= set(
        schema["properties"]
    )
    assert "$ref" not in str(schema)


def test_a_dependency_of_the_applications_own_tells_who_it_is(locks: Locks):
    with TestClient(made(locks)) as client:
        lock = client.post("/locks", json={"resource": "/orders/1"}).json()
        refused = client.put("/orders/1", headers={"X-User": "bob"})
        problem = parse_locked_problem(refused.content)
        assert refused.status_code == 423
        assert problem is not None
        assert [held.holder.name for held in problem.locks] == ["anonymous"]
        assert problem.locks[0].url == lock["url"]
        assert client.post("/orders/2/bill", headers={"X-User": "bob"}).json() == "bob"
        assert locks.find("/orders/2") == []


def test_a_lock_is_released_when_the_operation_fails(locks: Locks):
    app = made(locks)

    @app.post("/orders/{order}/fail", dependencies=[Depends(lock("/orders/{order}", principal=who))])
    def fail(order: str) -> None:
        raise LookupError(order)

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post("/orders/3/fail").status_code == 500
    assert locks.find("/orders/3") == []


def test_an_exception_of_the_applications_own_code_becomes_the_whole_answer(locks: Locks):
    app = made(locks)

    @app.post("/archive")
    def archive() -> None:
        locks.require("/orders/4", "archivist")

    with TestClient(app) as client:
        client.post("/locks", json={"resource": "/orders/4", "owner": "Ada"})
        refused = client.post("/archive", headers={"Accept": "text/html"})
        assert (refused.status_code, refused.headers["cache-control"]) == (423, "no-store")
        assert "Someone (“Ada”) has locked" in refused.text


def test_below_a_proxys_prefix_the_links_have_it_too(locks: Locks):
    with TestClient(made(locks), root_path="/shop") as client:
        made_lock = client.post("/locks", json={"resource": "/orders/5"})
        assert made_lock.headers["location"] == f"/shop/locks/{made_lock.json()['id']}"
        refused = client.put("/orders/5")
        assert f"</shop/locks/{made_lock.json()['id']}>" in refused.headers["link"]
        assert refused.json()["resource"] == "/orders/5"


def test_without_locks_the_mistake_is_named():
    app = FastAPI()

    @app.put("/a", dependencies=[Depends(require_lock(principal=who))])
    def put() -> None:
        """Nothing."""

    with TestClient(app) as client, pytest.raises(LookupError, match="install"):
        client.put("/a")
