"""The check for Schemathesis lets our own API pass, and finds each thing that is wrong with the 423 of a bad one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.faces.api.openapi import describe
from holdfast.testing.openapi import (
    locked_response_check,
    locked_response_conformance,
    refuses_others_while_locked,
)
from tests.serving import Served, serving

OURS: Any = schemathesis.openapi.from_dict(describe())
JSON = "application/json"
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
ACCEPTED = (
    "*/*",
    "application/json",
    "application/xml",
    "application/problem+json;q=0.5, text/html;q=0.1",
    "text/html",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("checked")) as served:
        yield served


@pytest.fixture(scope="module")
def all_is_locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("locked"), max_wait_s=1) as served:
        made = served.as_("root").request(
            "POST", "/api/locks", b'{"resource": "/", "depth": "infinity"}', {"Content-Type": JSON}
        )
        assert made.status == 201
        yield served


def credentials(served: Served, name: str) -> dict[str, str]:
    value = served.as_(name).authorization
    assert value is not None
    return {"Authorization": value}


def test_a_lock_of_ours_refuses_others_lets_its_holder_through_and_ends(served: Served) -> None:
    forwarded = {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": "/orders/1"}
    refused = refuses_others_while_locked(
        OURS["/api/locks"]["POST"].Case(body={"resource": "/orders/1"}, media_type=JSON),
        OURS["/api/check"]["GET"].Case(headers=forwarded),
        holder=credentials(served, "alice"),
        other=credentials(served, "bob"),
        submitted=lambda granted: {"Lock-Token": f"<{granted.json()['token']}>"},
        unlock=lambda granted: OURS["/api/locks/{id}"]["DELETE"].Case(
            path_parameters={"id": granted.json()["id"]},
            headers={"Lock-Token": f"<{granted.json()['token']}>"},
        ),
        base_url=served.url,
    )
    assert refused.json()["locks"][0]["holder"]["name"] == "alice"


@pytest.mark.parametrize(("path", "method"), [("/api/locks", "POST"), ("/api/check", "POST"), ("/api/check", "GET")])
def test_every_423_of_ours_conforms_whatever_was_asked(all_is_locked: Served, path: str, method: str) -> None:
    """The resource is given, since most texts are none; the rest is as Schemathesis likes."""
    refused = 0

    @settings(max_examples=12, derandomize=True, database=None, suppress_health_check=SLOW)
    @given(case=OURS[path][method].as_strategy(), accept=st.sampled_from(ACCEPTED))
    def ask(case: Any, accept: str) -> None:
        nonlocal refused
        headers = credentials(all_is_locked, "bob") | {"Accept": accept}
        if method == "POST":
            case.body = case.body | {"resource": "/orders/7"}
        else:
            headers |= {"X-Forwarded-Method": "PUT", "X-Forwarded-Uri": "/orders/7"}
        answer = case.call_and_validate(
            base_url=all_is_locked.url, headers=headers, checks=[locked_response_conformance]
        )
        refused += answer.status_code == 423

    ask()
    assert refused > 0


GOOD: dict[str, str] = {
    "Content-Type": "application/problem+json",
    "Retry-After": "30",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}
PROBLEM: dict[str, Any] = {
    "type": "https://example.org/problems/locked",
    "title": "Locked",
    "status": 423,
    "detail": "Ada has been editing this since 10:00.",
    "locked_by": "Ada",
    "locked_since": "2026-11-21T10:00:00Z",
    "locked_until": "2126-11-21T10:30:00Z",
}
Answers = tuple[dict[str, str], bytes]


class Records:
    """An application of one record, whose 423 is what the test makes of it."""

    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        self.headers = headers
        self.body = body
        self.holder = ""
        self.honours_locks = True
        self.declares = True
        self.lets_holder_in = True

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        who = environ.get("HTTP_X_USER", "")
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if path == "/openapi.json":
            return answer(start_response, "200 OK", {"Content-Type": JSON}, json.dumps(self.document()).encode())
        is_free = self.holder in {"", who} if self.lets_holder_in else not self.holder
        if method == "PUT" and self.honours_locks and not is_free:
            return answer(start_response, "423 Locked", self.headers, self.body)
        if path == "/record/lock":
            self.holder = who if method == "POST" else ""
        return answer(start_response, "204 No Content", {}, b"")

    def document(self) -> dict[str, Any]:
        done = {"204": {"description": "Done."}}
        locked = {
            "423": {
                "description": "Locked.",
                "headers": {"Retry-After": {"required": True, "schema": {"type": "string"}}},
                "content": {
                    "application/problem+json": {"schema": {"type": "object", "required": ["locked_by"]}},
                    "application/xml": {},
                    "text/plain": {},
                },
            }
        }
        return {
            "openapi": "3.1.0",
            "info": {"title": "Records", "version": "1"},
            "paths": {
                "/record": {"put": {"responses": done | (locked if self.declares else {})}},
                "/record/lock": {"post": {"responses": done}, "delete": {"responses": done}},
            },
        }


def answer(start_response: Callable[..., Any], status: str, headers: dict[str, str], body: bytes) -> list[bytes]:
    start_response(status, list(headers.items()))
    return [body] if body else []


def run(app: Records) -> Any:
    """Lock as Ada, write as Bob."""
    schema: Any = schemathesis.openapi.from_wsgi("/openapi.json", app)
    return refuses_others_while_locked(
        schema["/record/lock"]["POST"].Case(),
        schema["/record"]["PUT"].Case(),
        holder={"X-User": "Ada"},
        other={"X-User": "Bob"},
        submitted=lambda _: {},
        unlock=lambda _: schema["/record/lock"]["DELETE"].Case(),
    )


def encoded(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**PROBLEM, **changes}.items() if value is not None}).encode()


def test_a_good_answer_passes() -> None:
    app = Records(GOOD, encoded())
    assert run(app).status_code == 423
    assert app.holder == ""


XML = b'<?xml version="1.0" encoding="utf-8"?><D:error xmlns:D="DAV:"><D:lock-token-submitted>%s</D:lock-token-submitted></D:error>'


def test_a_good_answer_in_xml_passes() -> None:
    body = XML % b"<D:href>/record</D:href>"
    assert run(Records({**GOOD, "Content-Type": 'application/xml; charset="utf-8"'}, body)).status_code == 423


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        pytest.param({"Retry-After": ""}, encoded(), "Retry-After is missing", id="no Retry-After"),
        pytest.param({"Retry-After": "soon"}, encoded(), "H01 (bad)", id="a Retry-After that nobody can read"),
        pytest.param({"Cache-Control": ""}, encoded(), "no-store is missing", id="no Cache-Control"),
        pytest.param({"Cache-Control": "max-age=60"}, encoded(), "no-store is missing", id="kept by caches"),
        pytest.param({"ETag": '"7"'}, encoded(), "H08 (warn)", id="a validator"),
        pytest.param({"Content-Type": "text/plain"}, b"locked", "of the type text/plain", id="text"),
        pytest.param({"Content-Type": ""}, b"", "without a type", id="nothing"),
        pytest.param({}, b"{", "P01 (bad)", id="no JSON"),
        pytest.param({}, encoded(status=409), "P02 (bad)", id="another status in the body"),
        pytest.param(
            {},
            encoded(locked_by=None, locked_since=None, locked_until=None),
            "no member beside the standard ones",
            id="nothing of the lock",
        ),
        pytest.param({"Content-Type": "application/xml"}, XML % b"", "L04 (bad)", id="XML without the locked resource"),
    ],
)
def test_each_fault_is_found_and_told(headers: dict[str, str], body: bytes, said: str) -> None:
    chosen = {name: value for name, value in {**GOOD, **headers}.items() if value}
    app = Records(chosen, body)
    with pytest.raises((AssertionError, BaseExceptionGroup)) as found:
        run(app)
    assert said in everything(found.value)
    assert app.holder == "", "the lock was not released"


def everything(error: BaseException) -> str:
    inner: Any = getattr(error, "exceptions", ())
    return "\n".join([str(error), *map(everything, inner)])


def test_a_lock_that_stops_nobody_is_found() -> None:
    app = Records(GOOD, encoded())
    app.honours_locks = False
    with pytest.raises(AssertionError, match=r"by somebody else answered 204 while it was locked"):
        run(app)


def test_a_lock_that_stops_its_holder_is_found() -> None:
    app = Records(GOOD, encoded())
    app.lets_holder_in = False
    with pytest.raises(AssertionError, match=r"by the holder, with what was submitted, was refused with 423"):
        run(app)


def test_a_423_that_is_not_declared_is_found() -> None:
    app = Records(GOOD, encoded())
    app.declares = False
    with pytest.raises((AssertionError, BaseExceptionGroup)) as found:
        run(app)
    assert "423" in everything(found.value)
    assert "Undocumented status code" in everything(found.value)


def test_a_rule_can_be_left_out() -> None:
    app = Records({**GOOD, "ETag": '"7"'}, encoded())
    app.holder = "Ada"
    schema: Any = schemathesis.openapi.from_wsgi("/openapi.json", app)
    case = schema["/record"]["PUT"].Case()
    case.call_and_validate(headers={"X-User": "Bob"}, checks=[locked_response_check(ignoring={"H08"})])
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        case.call_and_validate(headers={"X-User": "Bob"}, checks=[locked_response_check()])


def test_it_runs_with_all_checks_once_it_is_imported() -> None:
    app = Records({**GOOD, "Cache-Control": "public"}, encoded())
    app.holder = "Ada"
    schema: Any = schemathesis.openapi.from_wsgi("/openapi.json", app)
    case = schema["/record"]["PUT"].Case()
    with pytest.raises((AssertionError, BaseExceptionGroup)) as found:
        case.call_and_validate(headers={"X-User": "Bob"})
    assert "no-store is missing" in everything(found.value)
